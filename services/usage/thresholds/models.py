from datetime import date, datetime
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger, CheckConstraint, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from shared.ids import new_id


class ThresholdState(SQLModel, table=True):
    """Which side of a threshold a tenant stands on, and how often the threshold was armed."""

    __tablename__ = "threshold_state"
    __table_args__ = (CheckConstraint("percent BETWEEN 1 AND 100"), CheckConstraint("armed > 0"))

    tenant_id: UUID = Field(primary_key=True, foreign_key="tenant_usage.tenant_id")
    metric: str = Field(primary_key=True, sa_type=Text)
    percent: int = Field(primary_key=True)
    armed: int
    reached: bool


class Alert(SQLModel, table=True):
    """One crossing of one threshold in one period; the unique key is what makes it come once."""

    __table_args__ = (
        UniqueConstraint("tenant_id", "metric", "percent", "period", "armed"),
        Index("alert_newest", "tenant_id", "at", "percent", "id"),
    )

    id: UUID = Field(primary_key=True, default_factory=new_id)
    tenant_id: UUID = Field(foreign_key="tenant_usage.tenant_id")
    metric: str = Field(sa_type=Text)
    percent: int
    period: date  # first day of the month, UTC
    armed: int  # 1, 2, 3 …: raised each time usage falls below again
    used: int = Field(sa_type=BigInteger)
    limit: int = Field(sa_type=BigInteger)
    speaks: bool  # of several crossed at once the highest tells people
    at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    cleared_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
