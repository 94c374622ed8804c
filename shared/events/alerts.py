"""`alerts.v1`: thresholds passed on the way up and left behind on the way down. Written by `usage` with the counter."""

from datetime import date, datetime
from typing import ClassVar, Literal

from shared.events.base import Event

Metric = Literal["storage"]


class ThresholdEvent(Event):
    """`used` and `limit` in the metric's unit (bytes); `armed` counts the armings of the period."""

    topic: ClassVar[str] = "alerts.v1"

    metric: Metric
    percent: int
    used: int
    limit: int | None
    period: date
    armed: int
    at: datetime


class ThresholdCrossed(ThresholdEvent):
    type: ClassVar[str] = "threshold.crossed"

    # Several thresholds may be crossed by one change: the highest speaks to people, all are recorded.
    speaks: bool


class ThresholdCleared(ThresholdEvent):
    type: ClassVar[str] = "threshold.cleared"
