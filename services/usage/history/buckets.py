"""Stretches of time that history is kept in: minutes and hours of UTC, days and months of the tenant. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

Grain = Literal["minute", "hour", "day"]  # as it is kept
Granularity = Literal["minute", "hour", "day", "month"]  # as it is asked for

GRAINS: tuple[Grain, ...] = ("minute", "hour", "day")
DAY = timedelta(days=1)
_STEPS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days each is kept."""

    minute: int = 7
    hour: int = 92
    day: int = 1830

    def of(self, granularity: Granularity) -> timedelta:
        return timedelta(days={"minute": self.minute, "hour": self.hour}.get(granularity, self.day))

    def horizon(self, grain: Grain, now: datetime) -> datetime:
        """What began before it may go: nobody can ask for it, in whatever zone."""
        return now - self.of(grain) - 2 * DAY

    def since(self, granularity: Granularity, now: datetime, zone: tzinfo) -> datetime:
        """The first moment of which there is history; a month may be kept in part."""
        return begin(now - self.of(granularity), grain_of(granularity), zone)


RETENTION = Retention()


def grain_of(granularity: Granularity) -> Grain:
    return "day" if granularity == "month" else granularity


def start_of(day: date, zone: tzinfo) -> datetime:
    """The day's first moment, in UTC: where midnight is left out or comes twice, too."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def day_of(at: datetime, zone: tzinfo) -> date:
    """A day has begun for good with its first midnight, even where clocks then go back before it."""
    day = at.astimezone(zone).date()
    following = day + DAY
    return following if at >= start_of(following, zone) else day


def begin(at: datetime, granularity: Granularity, zone: tzinfo) -> datetime:
    """Of the bucket it is in."""
    if granularity == "minute":
        return at.astimezone(UTC).replace(second=0, microsecond=0)
    if granularity == "hour":
        return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    day = day_of(at, zone)
    return start_of(day if granularity == "day" else day.replace(day=1), zone)


def end(start: datetime, granularity: Granularity, zone: tzinfo) -> datetime:
    """Of the bucket that begins at `start`."""
    if step := _STEPS.get(granularity):
        return start + step
    day = day_of(start, zone)
    if granularity == "day":
        return start_of(day + DAY, zone)
    return start_of((day.replace(day=1) + 31 * DAY).replace(day=1), zone)


def edges(since: datetime, until: datetime, granularity: Granularity, zone: tzinfo, most: int) -> list[datetime]:
    """Of all buckets that `since` to `until` touches, the last end included; of one at least. Raises OverflowError for
    over `most`.
    """
    found = [begin(since, granularity, zone)]
    while found[-1] < until or len(found) == 1:
        if len(found) > most:
            raise OverflowError
        found.append(end(found[-1], granularity, zone))
    return found
