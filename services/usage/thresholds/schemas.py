from datetime import date, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.usage.counters.schemas import ThresholdOut, standings
from services.usage.metering.meters import METERS
from services.usage.thresholds.choice import Chosen
from services.usage.thresholds.rules import Level, Threshold
from shared.events import Channel, Metric

MOST = 20  # thresholds of one metric


class AlertOut(BaseModel):
    """One crossing of `percent` of the limit or of an `amount`, `used` of `limit` at that moment, in the metric's unit;
    `cleared_at` once usage fell below again. `hard`: nothing that would pass it is allowed. `speaks`: of several passed
    at once, the one that people were told of.
    """

    id: UUID
    metric: Metric
    percent: int | None
    amount: int | None
    used: int
    limit: int | None
    hard: bool
    speaks: bool
    period: date
    at: datetime
    cleared_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> Self:
        level = Level(row["unit"], row["value"])
        return cls(**dict(row), percent=level.percent, amount=level.amount)


class AlertsOut(BaseModel):
    """A page, of one moment: `position` is the last ledger entry counted."""

    items: list[AlertOut]
    next_cursor: str | None
    position: int
    as_of: datetime


class ThresholdIn(BaseModel):
    """Either `percent` of the limit or an `amount` in the metric's unit: bytes, or how many there are."""

    model_config = ConfigDict(extra="forbid")

    percent: Annotated[int, Field(ge=1, le=200)] | None = None
    amount: Annotated[int, Field(ge=1, le=2**62)] | None = None
    hard: bool = False
    channels: Annotated[list[Channel], Field(max_length=2)] = ["note", "mail"]

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.percent is None) == (self.amount is None):
            raise ValueError("either percent or amount")
        return self

    @property
    def threshold(self) -> Threshold:
        level = Level("percent", self.percent) if self.percent is not None else Level("amount", self.amount or 0)
        return Threshold(level, self.hard, tuple(dict.fromkeys(self.channels)))


class ThresholdsIn(BaseModel):
    """All of one metric; none at all: nobody is told of anything."""

    model_config = ConfigDict(extra="forbid")

    metric: Metric = "storage"
    items: Annotated[list[ThresholdIn], Field(max_length=MOST)]

    @model_validator(mode="after")
    def _of_a_limit(self) -> Self:
        if not METERS[self.metric].limited and any(item.percent is not None for item in self.items):
            raise ValueError(f"no plan limits {self.metric}: an amount is wanted")
        return self

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({item.threshold.level for item in self.items}) < len(self.items):
            raise ValueError("each threshold once")
        return self


class ThresholdsOut(BaseModel):
    """`own`: chosen by the tenant, in place of the usual ones."""

    metric: Metric
    own: bool
    position: int
    as_of: datetime
    items: list[ThresholdOut]

    @classmethod
    def of(cls, found: Chosen) -> Self:
        return cls(
            metric=found.metric,
            own=found.own,
            position=found.position,
            as_of=found.as_of,
            items=standings(found.thresholds, found.reached),
        )
