from datetime import date, datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.usage.counters.schemas import ThresholdOut, thresholds_of
from services.usage.counters.snapshot import Snapshot


class AlertOut(BaseModel):
    """One crossing, `used` of `limit` bytes at that moment; `cleared_at` once usage fell below again."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    metric: str
    percent: int
    used: int
    limit: int
    period: date
    at: datetime
    cleared_at: datetime | None


class ThresholdsOut(BaseModel):
    metric: str
    position: int
    as_of: datetime
    items: list[ThresholdOut]

    @classmethod
    def of(cls, usage: Snapshot) -> Self:
        return cls(metric="storage", position=usage.position, as_of=usage.as_of, items=thresholds_of(usage))
