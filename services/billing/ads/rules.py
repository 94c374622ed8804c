"""What a view of an ad is worth. Pure; durations are the server's, never the client's."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

Status = Literal["open", "ended", "waiting", "completed", "expired"]
Reason = Literal["too_short", "daily_limit"]


class Step(Protocol):
    @property
    def seconds(self) -> int: ...
    @property
    def credits(self) -> int: ...


@dataclass(frozen=True, slots=True)
class View:
    """`seconds` it lasted, `credits` it earned (None: not decided). `ended`: another one was started after it;
    `waiting`: for the ad network's word.
    """

    id: UUID
    tenant_id: UUID
    user_id: UUID
    status: Status
    started_at: datetime
    completed_at: datetime | None = None
    seconds: int | None = None
    credits: int | None = None
    reason: Reason | None = None


def lasted(started_at: datetime, now: datetime) -> int:
    """Whole seconds; a clock that was put back makes none."""
    return max(0, int((now - started_at) / timedelta(seconds=1)))


def worth(seconds: int, rewards: Iterable[Step]) -> int:
    """Credits of the best reward reached."""
    return max((reward.credits for reward in rewards if seconds >= reward.seconds), default=0)


def is_late(started_at: datetime, now: datetime, within: int) -> bool:
    return now - started_at > timedelta(seconds=within)


def day_of(now: datetime, zone: ZoneInfo) -> date:
    return now.astimezone(zone).date()


def midnight_after(day: date, zone: ZoneInfo) -> datetime:
    """When the next day begins there, in UTC; a day has 23, 24 or 25 hours."""
    return datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
