from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from services.usage.entitlements.rules import Terms
from services.usage.figures.figure import Figure
from services.usage.metering.meters import Meter
from services.usage.months import Month
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
    trashed_bytes: int
    trashed_files: int
    version_bytes: int
    version_files: int
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


class FigureRow(BaseModel):
    """Of one metric, as it was told."""

    model_config = ConfigDict(frozen=True)

    used: int
    remaining: int | None
    month: date | None


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
    bought_traffic: int
    figures: dict[Metric, FigureRow]

    @property
    def terms(self) -> Terms:
        return Terms(self.version, self.plan, self.limit, self.limits)

    def standing(self, meter: Meter) -> tuple[int, int | None]:
        """What is used of it in its unit, of the month that runs where it has months, and its limit, with what was
        bought.
        """
        granted = self.terms.limit_of(meter.limit)
        if meter.told is not None:
            row, runs = self.figures.get(meter.metric), Month.of(self.as_of, ZoneInfo(self.timezone))
            told = None if row is None else Figure.stored(row.used, row.remaining, row.month)
            figure = (told or meter.told.before_any(meter.least)).on(runs)
            return figure.used, figure.limit(granted)
        limit = None if granted is None else granted + self.bought(meter)
        return self.bytes if meter.metric == "storage" else int(getattr(self, f"used_{meter.metric}")), limit

    def bought(self, meter: Meter) -> int:
        """For the month that runs, in its unit."""
        return 0 if meter.bought is None else int(getattr(self, f"bought_{meter.metric}"))

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        return DEFAULTS if self.chosen is None else thresholds_of(self.chosen)

    @property
    def reached(self) -> frozenset[Level]:
        return frozenset(Level(arm.unit, arm.value) for arm in self.arms if arm.reached)
