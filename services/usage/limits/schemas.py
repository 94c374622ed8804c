from datetime import datetime
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from services.usage.counters.rules import percentage
from services.usage.counters.snapshot import Snapshot
from services.usage.limits.rules import Status, remaining, status_of
from services.usage.metering.meters import METERS, Meter, Unit
from shared.events import Metric


class UsageCheckIn(BaseModel):
    """`amount` that is about to be added, in the metric's unit: bytes, or how many there are."""

    model_config = ConfigDict(extra="forbid")

    metric: Metric
    amount: Annotated[int, Field(ge=0, le=2**62)]


class UsageCheckOut(BaseModel):
    """`limit` is the plan's with what was `bought`, or that of a hard threshold below it; null, as `remaining`, is
    unlimited. `reset_at`: when the metric begins from nothing again, null where it never does.
    """

    metric: Metric
    allowed: bool
    amount: int
    used: int
    limit: int | None
    bought: int
    remaining: int | None
    reset_at: datetime | None
    position: int
    as_of: datetime


class LimitOut(BaseModel):
    """One metric beside its plan's limit with what was `bought` for the month that runs; null where it has none.
    `status`: full at the limit, critical from 95 %, warning from 80 %. `reset_at`: the next month of the tenant, for
    what begins from nothing then.
    """

    metric: Metric
    unit: Unit
    used: int
    limit: int | None
    bought: int
    remaining: int | None
    percentage: float | None
    status: Status
    reset_at: datetime | None

    @classmethod
    def of(cls, meter: Meter, used: int, limit: int | None, reset_at: datetime | None, bought: int) -> Self:
        return cls(
            metric=meter.metric,
            unit=meter.unit,
            used=used,
            limit=limit,
            bought=bought,
            remaining=remaining(used, limit),
            percentage=percentage(used, limit),
            status=status_of(used, limit),
            reset_at=reset_at,
        )


class LimitsOut(BaseModel):
    """`within`: no metric is at its limit, but for those of which the plan has no more than every tenant uses: nothing,
    or the one seat of its owner.
    """

    within: bool
    position: int
    as_of: datetime
    items: list[LimitOut]

    @classmethod
    def of(cls, usage: Snapshot) -> Self:
        items = metered(usage)
        return cls(within=all(map(_is_within, items)), position=usage.position, as_of=usage.as_of, items=items)


def metered(usage: Snapshot) -> list[LimitOut]:
    """Every metric there is, of one moment."""
    zone = ZoneInfo(usage.timezone)
    return [
        LimitOut.of(meter, *usage.standing(meter), meter.reset_at(usage.as_of, zone), usage.bought(meter))
        for meter in METERS.values()
    ]


def _is_within(item: LimitOut) -> bool:
    return item.status != "full" or item.used == item.limit == METERS[item.metric].least
