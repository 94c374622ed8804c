from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.usage.entitlements.rules import Terms
from services.usage.thresholds.repository import thresholds_of
from services.usage.thresholds.rules import DEFAULTS, Level, Threshold, Unit
from shared.events import Metric


class Part(BaseModel):
    """One file type and category, `total_size` in bytes."""

    model_config = ConfigDict(frozen=True)

    file_type: str
    category: str
    file_count: int
    total_size: int
    last_updated: datetime


class Standing(BaseModel):
    """On which side of one threshold usage stands."""

    model_config = ConfigDict(frozen=True)

    unit: Unit
    value: int
    armed: int
    reached: bool


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
    arms: list[Standing]
    chosen: list[dict[str, Any]] | None
    traffic: MonthTraffic
    limits: dict[str, int | None] | None
    timezone: str
    used_traffic: int
    used_images: int
    used_requests: int
    used_disk: int

    @property
    def terms(self) -> Terms:
        return Terms(self.version, self.plan, self.limit, self.limits)

    def used(self, metric: Metric) -> int:
        """In its unit; of the month that runs, where it has months."""
        return self.bytes if metric == "storage" else int(getattr(self, f"used_{metric}"))

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        return DEFAULTS if self.chosen is None else thresholds_of(self.chosen)

    @property
    def reached(self) -> frozenset[Level]:
        return frozenset(Level(arm.unit, arm.value) for arm in self.arms if arm.reached)
