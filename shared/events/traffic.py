"""`traffic.v1`: bytes that went through the gateway, summed over a short stretch of time. Written by `gateway`."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.events.base import Event

ITEMS = 200  # in one event, at most


class TrafficItem(BaseModel):
    """Of one project, or of none. Bytes of bodies: `bytes_in` from clients, `bytes_out` to them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    project_id: UUID | None
    bytes_in: int
    bytes_out: int
    requests: int


class TrafficRecorded(Event):
    """What was counted from `since` until `until` by one gateway: several events add up."""

    type: ClassVar[str] = "traffic.recorded"
    topic: ClassVar[str] = "traffic.v1"

    since: datetime
    until: datetime
    items: tuple[TrafficItem, ...] = Field(min_length=1, max_length=ITEMS)
