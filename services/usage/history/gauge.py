"""What is stored, measured over time while a ledger is walked along. Pure.

The integral is a running sum of bytes times microseconds since the first entry: what lies between any two moments is
a difference, so nothing is lost or counted twice by where buckets or batches end.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, tzinfo
from typing import NamedTuple

from services.usage.counters.tally import Entry
from services.usage.history.buckets import DAY, Grain, begin, day_of, end, start_of

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Gauge:
    """As it stood at `measured_at`; the peaks are those of the minute, hour and `day` that are open there, with what
    was carried into them.
    """

    measured_at: datetime | None = None
    integral: int = 0
    minute_peak: int = 0
    hour_peak: int = 0
    day_peak: int = 0
    day: date | None = None

    def reach(self, size: int) -> "Gauge":
        """So much is stored where it stands."""
        peaks = {name: max(getattr(self, name), size) for name in ("minute_peak", "hour_peak", "day_peak")}
        return replace(self, **peaks)


UNMEASURED = Gauge()


class Reading(NamedTuple):
    """A minute, hour or day that is over and had entries: what it ended with. `integral` is as of `measured_at`."""

    at: datetime | date
    bytes: int
    files: int
    peak: int
    integral: int
    measured_at: datetime


@dataclass(slots=True)
class Readings:
    minute: list[Reading] = field(default_factory=list)
    hour: list[Reading] = field(default_factory=list)
    day: list[Reading] = field(default_factory=list)

    def of(self, grain: Grain) -> list[Reading]:
        return {"minute": self.minute, "hour": self.hour, "day": self.day}[grain]


class Meter:
    """Time never goes back: an entry older than the one before it is measured where that one was."""

    def __init__(self, held: Gauge, zone: tzinfo) -> None:
        self.peak = held.minute_peak
        self.finished = Readings()
        self._held = held
        self._zone = zone
        self._at = held.measured_at or _NEVER
        self._integral = held.integral
        self._hour_peak, self._day_peak, self._day = held.hour_peak, held.day_peak, held.day
        self._minute_ends = self._hour_ends = self._day_ends = _NEVER  # worked out when an entry asks for them

    def pass_time(self, entry: Entry, size: int, files: int) -> None:
        """Up to the entry `size` bytes and `files` were stored. One without a readable time counts all the same."""
        try:
            at = entry.time
            later = at > self._at
        except (LookupError, ValueError, TypeError):
            return
        if later:
            self.move(at, size, files)

    def move(self, at: datetime, size: int, files: int) -> None:
        """Up to a moment."""
        if at > self._at:
            if at >= self._minute_ends:
                self._turn(at, size, files)
            if size and self._at is not _NEVER:
                passed = at - self._at  # by its parts: a division of timedeltas takes three times as long
                self._integral += size * (passed.microseconds + 1_000_000 * (passed.seconds + 86_400 * passed.days))
            self._at = at

    def gauge(self) -> Gauge:
        if self._at is _NEVER:
            return self._held
        hour, day = max(self._hour_peak, self.peak), max(self._day_peak, self.peak)
        return Gauge(self._at, self._integral, self.peak, hour, day, self._day)

    def _turn(self, at: datetime, size: int, files: int) -> None:
        """Into another minute, or the first of this walk."""
        if self._at is _NEVER:
            self._day, self.peak = day_of(at, self._zone), size
        else:
            self._look_ahead(self._at)
            if at >= self._minute_ends:
                self._finish(at, size, files)
        self._look_ahead(at)

    def _look_ahead(self, at: datetime) -> None:
        if at >= self._hour_ends:
            self._hour_ends = end(begin(at, "hour", UTC), "hour", UTC)
        if at >= self._day_ends and self._day is not None:
            self._day_ends = start_of(self._day + DAY, self._zone)
        self._minute_ends = end(begin(at, "minute", UTC), "minute", UTC)

    def _finish(self, at: datetime, size: int, files: int) -> None:
        stood, zone = (self._integral, self._at), UTC
        self.peak = max(self.peak, size)  # half of a replacement, after which nothing came for a while
        self._hour_peak, self._day_peak = max(self._hour_peak, self.peak), max(self._day_peak, self.peak)
        self.finished.minute.append(Reading(begin(self._at, "minute", zone), size, files, self.peak, *stood))
        if at >= self._hour_ends:
            self.finished.hour.append(Reading(begin(self._at, "hour", zone), size, files, self._hour_peak, *stood))
            self._hour_peak = size
        if at >= self._day_ends and self._day is not None:
            self.finished.day.append(Reading(self._day, size, files, self._day_peak, *stood))
            # Never back, even if the tenant has moved to where it is still yesterday.
            self._day_peak, self._day = size, max(self._day + DAY, day_of(at, self._zone))
        self.peak = size
