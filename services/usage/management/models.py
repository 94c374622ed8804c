from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel


class StorageManagement(SQLModel, table=True):
    """What was calculated of a tenant's storage last; tenants with a schema have the same columns there.

    `storage_categories`: {category: {bytes, files}}. `cleanup_history`: [{at, kind, bytes, files}], newest first, at
    most 100.
    """

    __tablename__ = "storage_management"
    __table_args__ = (CheckConstraint("total_used >= 0"),)

    tenant_id: UUID = Field(primary_key=True)
    total_used: int = Field(default=0, sa_type=BigInteger)
    last_calculation: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
    storage_categories: dict[str, Any] = Field(sa_type=JSONB)
    cleanup_history: list[Any] = Field(sa_type=JSONB)
    user_id: UUID | None = None


class CleanupDay(SQLModel, table=True):
    """What left a tenant's storage on one day (UTC), by where it was: among the files, in the trash, or a version."""

    __tablename__ = "cleanup_day"
    __table_args__ = (CheckConstraint("kind IN ('files', 'trash', 'versions')"),)

    tenant_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    kind: str = Field(primary_key=True, sa_type=Text)
    files: int = Field(sa_type=BigInteger)
    bytes: int = Field(sa_type=BigInteger)
