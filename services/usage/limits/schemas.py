from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events import Metric

Status = Literal["ok", "warning", "critical", "full", "unlimited"]


class UsageCheckIn(BaseModel):
    """`amount` that is about to be added, in the metric's unit (bytes)."""

    model_config = ConfigDict(extra="forbid")

    metric: Metric
    amount: Annotated[int, Field(ge=0, le=2**62)]


class UsageCheckOut(BaseModel):
    """`limit` is the plan's or that of a hard threshold below it; null, as `remaining`, is unlimited. `reset_at`: when
    the metric begins from nothing again, null where it never does.
    """

    metric: Metric
    allowed: bool
    amount: int
    used: int
    limit: int | None
    remaining: int | None
    reset_at: datetime | None
    position: int
    as_of: datetime


class LimitOut(BaseModel):
    """`status`: full at the limit, critical from 95 %, warning from 80 %."""

    metric: Metric
    used: int
    limit: int | None
    remaining: int | None
    percentage: float | None
    status: Status
    reset_at: datetime | None


class LimitsOut(BaseModel):
    """`within`: no metric is at its limit."""

    within: bool
    position: int
    as_of: datetime
    items: list[LimitOut]
