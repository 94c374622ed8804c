from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger, CheckConstraint, Index, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.ids import new_id


class ThresholdChoice(SQLModel, table=True):
    """A tenant's own thresholds of one metric, in place of the usual; `items` are {unit, value, hard, channels}."""

    __tablename__ = "threshold_choice"
    __table_args__ = (CheckConstraint("jsonb_typeof(items) = 'array'"),)

    tenant_id: UUID = Field(primary_key=True, foreign_key="tenant_usage.tenant_id")
    metric: str = Field(primary_key=True, sa_type=Text)
    items: list[dict[str, Any]] = Field(sa_type=JSONB)
    updated_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))


class ThresholdState(SQLModel, table=True):
    """Which side of a threshold a tenant stands on, and how often the threshold was armed."""

    __tablename__ = "threshold_state"
    __table_args__ = (
        CheckConstraint("unit IN ('percent', 'amount')"),
        CheckConstraint("value > 0"),
        CheckConstraint("armed > 0"),
    )

    tenant_id: UUID = Field(primary_key=True, foreign_key="tenant_usage.tenant_id")
    metric: str = Field(primary_key=True, sa_type=Text)
    unit: str = Field(primary_key=True, sa_type=Text)
    value: int = Field(primary_key=True, sa_type=BigInteger)
    armed: int
    reached: bool


class Alert(SQLModel, table=True):
    """One crossing of one threshold in one period; the unique key is what makes it come once."""

    __table_args__ = (
        UniqueConstraint("tenant_id", "metric", "unit", "value", "period", "armed"),
        CheckConstraint("unit IN ('percent', 'amount')"),
        CheckConstraint("value > 0"),
        Index("alert_newest", "tenant_id", "at", "value", "id"),
    )

    id: UUID = Field(primary_key=True, default_factory=new_id)
    tenant_id: UUID = Field(foreign_key="tenant_usage.tenant_id")
    metric: str = Field(sa_type=Text)
    unit: str = Field(sa_type=Text)
    value: int = Field(sa_type=BigInteger)
    period: date  # first day of the month: the tenant's for what begins anew with it, else in UTC
    armed: int  # 1, 2, 3 …: raised each time usage falls below again
    used: int = Field(sa_type=BigInteger)
    limit: int | None = Field(sa_type=BigInteger)
    hard: bool = False  # nothing that would pass it is allowed
    speaks: bool  # of several crossed in one batch the highest tells people
    at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    cleared_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
