from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.usage.entitlements.rules import Terms
from services.usage.thresholds.rules import Arm


class Part(BaseModel):
    """One file type and category, `total_size` in bytes."""

    model_config = ConfigDict(frozen=True)

    file_type: str
    category: str
    file_count: int
    total_size: int
    last_updated: datetime


class MonthTraffic(BaseModel):
    """Of all projects, in the tenant's month; bytes."""

    model_config = ConfigDict(frozen=True)

    year: int
    month: int
    bytes_in: int
    bytes_out: int
    requests: int


class Snapshot(BaseModel):
    """A tenant's usage at one moment: total, parts and thresholds are of the same `position`."""

    model_config = ConfigDict(frozen=True)

    tenant_id: UUID
    position: int
    bytes: int
    files: int
    trashed_bytes: int
    trashed_files: int
    version_bytes: int
    version_files: int
    version: int
    plan: str | None
    limit: int | None
    last_reset: datetime
    as_of: datetime
    breakdown: list[Part]
    arms: dict[int, Arm]
    traffic: MonthTraffic

    @property
    def terms(self) -> Terms:
        return Terms(self.version, self.plan, self.limit)
