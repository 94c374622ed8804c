from datetime import datetime
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger, CheckConstraint, Index
from sqlmodel import Field, SQLModel


class ProjectStorage(SQLModel, table=True):
    """What a project's files hold now, trash and versions included. What belongs to none is the rest of the tenant."""

    __tablename__ = "project_storage"

    tenant_id: UUID = Field(primary_key=True)
    project_id: UUID = Field(primary_key=True)
    bytes: int = Field(sa_type=BigInteger)
    files: int = Field(sa_type=BigInteger)
    trashed_bytes: int = Field(default=0, sa_type=BigInteger)
    trashed_files: int = Field(default=0, sa_type=BigInteger)
    version_bytes: int = Field(default=0, sa_type=BigInteger)
    version_files: int = Field(default=0, sa_type=BigInteger)


class ProjectUsage(SQLModel, table=True):
    """One project's month, in the tenant's time zone; bytes. `storage_bytes` is what it held at the last change."""

    __tablename__ = "project_usage"
    __table_args__ = (
        CheckConstraint("month BETWEEN 1 AND 12"),
        CheckConstraint("traffic_in >= 0"),
        CheckConstraint("traffic_out >= 0"),
        CheckConstraint("requests >= 0"),
        CheckConstraint("storage_bytes >= 0"),
        Index("project_usage_project", "tenant_id", "project_id"),
    )

    tenant_id: UUID = Field(primary_key=True)
    year: int = Field(primary_key=True)
    month: int = Field(primary_key=True)
    project_id: UUID = Field(primary_key=True)
    traffic_in: int = Field(default=0, sa_type=BigInteger)
    traffic_out: int = Field(default=0, sa_type=BigInteger)
    requests: int = Field(default=0, sa_type=BigInteger)
    storage_bytes: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    updated_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
