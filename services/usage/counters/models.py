from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger, CheckConstraint, Numeric, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class TenantUsage(SQLModel, table=True):
    """What one tenant has stored after entry `position` of its ledger, in bytes, trash and versions included.

    Version 0: limit unknown. `integral` is byte-microseconds up to `measured_at`; the peaks are those of the minute,
    the hour and the tenant's `day` that are open there.
    """

    __tablename__ = "tenant_usage"
    __table_args__ = (
        CheckConstraint("bytes >= 0"),
        CheckConstraint("files >= 0"),
        CheckConstraint("limit_bytes >= 0"),
        CheckConstraint("trashed_bytes >= 0"),
        CheckConstraint("trashed_files >= 0"),
        CheckConstraint("version_bytes >= 0"),
        CheckConstraint("version_files >= 0"),
        CheckConstraint("jsonb_typeof(limits) = 'object'"),
    )

    tenant_id: UUID = Field(primary_key=True)
    bytes: int = Field(default=0, sa_type=BigInteger)
    files: int = Field(default=0, sa_type=BigInteger)
    limit_bytes: int | None = Field(default=None, sa_type=BigInteger)
    plan: str | None = Field(default=None, sa_type=Text)
    entitlements_version: int = Field(default=0, sa_type=BigInteger)
    position: int = Field(default=0, sa_type=BigInteger)
    updated_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    last_reset: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    trashed_bytes: int = Field(default=0, sa_type=BigInteger)
    trashed_files: int = Field(default=0, sa_type=BigInteger)
    version_bytes: int = Field(default=0, sa_type=BigInteger)
    version_files: int = Field(default=0, sa_type=BigInteger)
    measured_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
    integral: Decimal = Field(default=Decimal(0), sa_type=Numeric)
    minute_peak: int = Field(default=0, sa_type=BigInteger)
    hour_peak: int = Field(default=0, sa_type=BigInteger)
    day_peak: int = Field(default=0, sa_type=BigInteger)
    day: date | None = None
    limits: dict[str, int | None] | None = Field(default=None, sa_type=JSONB)  # of a plan's other terms, by name


class UsageBreakdown(SQLModel, table=True):
    """One file type and category of a tenant; all rows of a tenant sum to its `TenantUsage`. `last_updated`: when files
    came or went last.
    """

    __tablename__ = "usage_breakdown"
    __table_args__ = (CheckConstraint("file_count >= 0"), CheckConstraint("total_size >= 0"))

    tenant_id: UUID = Field(primary_key=True, foreign_key="tenant_usage.tenant_id")
    file_type: str = Field(primary_key=True, sa_type=Text)
    category: str = Field(primary_key=True, sa_type=Text)
    file_count: int = Field(sa_type=BigInteger)
    total_size: int = Field(sa_type=BigInteger)
    last_updated: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    trashed_bytes: int = Field(default=0, sa_type=BigInteger)
    trashed_files: int = Field(default=0, sa_type=BigInteger)
    version_bytes: int = Field(default=0, sa_type=BigInteger)
    version_files: int = Field(default=0, sa_type=BigInteger)
