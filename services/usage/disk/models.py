from datetime import date, datetime
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger, CheckConstraint, Index, Text, text
from sqlmodel import Field, SQLModel

from shared.ids import new_id


class DiskUsage(SQLModel, table=True):
    """What a project's volumes and images took on a day, by the day's last run."""

    __tablename__ = "disk_usage"
    __table_args__ = (
        CheckConstraint("volumes_bytes >= 0"),
        CheckConstraint("images_bytes >= 0"),
        Index("disk_usage_day", "day", "tenant_id"),
    )

    tenant_id: UUID = Field(primary_key=True)
    project_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)  # UTC
    volumes_bytes: int = Field(sa_type=BigInteger)
    images_bytes: int = Field(sa_type=BigInteger)
    volumes: int
    images: int
    unknown: int  # of these, how many have a size nobody knows
    taken_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))


class DiskRun(SQLModel, table=True):
    """One look at the engine: asked for or daily. Of those that wait there is one at most, and one of those running."""

    __tablename__ = "disk_run"
    __table_args__ = (
        CheckConstraint("status IN ('waiting', 'running', 'done', 'failed')"),
        Index("disk_run_open", "status", unique=True, postgresql_where=text("status IN ('waiting', 'running')")),
        Index("disk_run_newest", "requested_at", "id"),
        Index("disk_run_day", "day", "started_at", postgresql_where=text("status = 'done'")),
    )

    id: UUID = Field(primary_key=True, default_factory=new_id)
    status: str = Field(sa_type=Text)
    requested_at: datetime = Field(sa_type=TIMESTAMP(timezone=True))
    requested_by: UUID | None = None  # nobody: the daily one
    day: date | None = None  # UTC, on which it started
    started_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
    finished_at: datetime | None = Field(default=None, sa_type=TIMESTAMP(timezone=True))
    engine: str | None = Field(default=None, sa_type=Text)
    api: str | None = Field(default=None, sa_type=Text)
    projects: int = 0
    volumes_bytes: int = Field(default=0, sa_type=BigInteger)  # of all projects together
    images_bytes: int = Field(default=0, sa_type=BigInteger)
    unassigned_volumes_bytes: int = Field(default=0, sa_type=BigInteger)
    unassigned_images_bytes: int = Field(default=0, sa_type=BigInteger)
    unassigned: int = 0  # volumes and images of nobody
    mislabelled: int = 0  # of these, how many carry a label that names nobody
    unknown: int = 0  # of all, how many have a size nobody knows
    error: str | None = Field(default=None, sa_type=Text)
