"""`alerts.v1`: thresholds passed on the way up and left behind on the way down. Written by `usage` with the counter."""

from datetime import date, datetime
from typing import ClassVar, Literal

from shared.events.base import Event

Metric = Literal["storage", "traffic", "images", "requests", "disk", "members", "projects", "credits"]
Channel = Literal["note", "mail"]


class ThresholdEvent(Event):
    """`used` and `limit` in the metric's unit: bytes, or how many there are. `armed` counts the armings. The
    threshold is `percent` of the limit, or an `amount` in the metric's unit. `period` is the first day of the month:
    of the tenant's, in its time zone, for what begins anew each month.
    """

    topic: ClassVar[str] = "alerts.v1"

    metric: Metric
    percent: int | None
    used: int
    limit: int | None
    period: date
    armed: int
    at: datetime
    amount: int | None = None


class ThresholdCrossed(ThresholdEvent):
    type: ClassVar[str] = "threshold.crossed"

    # Several thresholds may be crossed in one batch: the highest speaks to people, all are recorded.
    speaks: bool
    hard: bool = False
    channels: tuple[Channel, ...] = ("note", "mail")


class UsageRecalculated(Event):
    """Counters were not what the ledger's entries 1 … `position` sum to, and were put right by the deltas."""

    type: ClassVar[str] = "usage.recalculated"
    topic: ClassVar[str] = "alerts.v1"

    position: int
    bytes: int
    files: int
    delta_bytes: int
    delta_files: int
    reason: str
    at: datetime


class ThresholdCleared(ThresholdEvent):
    type: ClassVar[str] = "threshold.cleared"
