"""Ledgers whose entries come at odd times, and what they come to by adding up rectangles, a bucket at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from services.usage.history.buckets import Grain
from shared.kafka.records import Record
from tests.services.usage.samples import KINDS, File, deleted, replaced, stored

BEGIN = datetime(2026, 3, 28, 11, 58, 30, tzinfo=UTC)  # the day before clocks change in Berlin
SPRING_AND_AUTUMN = [BEGIN, datetime(2026, 10, 24, 12, 1, tzinfo=UTC), datetime(2026, 4, 23, 20, 59, tzinfo=UTC)]
# Halves of hours, midnights that do not exist (Cairo on 24 April, Beirut) or come twice (Azores, Havana).
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "America/Los_Angeles",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Africa/Cairo",
        "Asia/Beirut",
        "Atlantic/Azores",
        "America/Havana",
    )
]
STEPS = [
    timedelta(),
    timedelta(microseconds=1),
    timedelta(seconds=7),
    timedelta(seconds=30),
    timedelta(minutes=20),
    timedelta(hours=1),
    timedelta(hours=11),
    timedelta(days=1),
    timedelta(days=3),
    timedelta(seconds=-40),  # a clock that was put right
]


@dataclass(frozen=True)
class Mark:
    """What was stored from `at` on. A passing mark was never seen: it is between two entries of one commit."""

    at: datetime
    bytes: int
    files: int
    passing: bool = False


@dataclass
class Timeline:
    entries: list[Record] = field(default_factory=list, repr=False)
    marks: list[Mark] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def write(
        self, at: datetime, make: Callable[..., Record], *args: object, passing: bool = False, **more: object
    ) -> None:
        record = make(len(self.entries) + 1, *args, **more)
        self.entries.append(replace(record, headers={**record.headers, "ce_time": at.isoformat().encode()}))
        seen = max(at, self.marks[-1].at) if self.marks else at
        self.marks.append(Mark(seen, sum(self.sizes), len(self.sizes), passing))

    def store(self, at: datetime, size: int) -> None:
        self.sizes.append(size)
        self.write(at, stored, size)

    def delete(self, at: datetime, size: int) -> None:
        self.sizes.remove(size)
        self.write(at, deleted, size)

    def keep(self, at: datetime, before: int, after: int) -> None:
        """Replaced, and the previous bytes stay as a version: two entries."""
        self.sizes.remove(before)
        self.sizes.append(after)
        self.write(at, replaced, File(before), File(after), kept=True, passing=True)
        self.sizes.append(before)
        self.write(at, stored, before, version=True)

    def revert(self, at: datetime, now: int, version: int) -> None:
        """The version comes back in place of what there is."""
        self.sizes.remove(now)
        self.sizes.append(version)
        self.write(at, replaced, File(now), File(version), reverted=True, passing=True)
        self.sizes.remove(version)
        self.write(at, deleted, version, KINDS[0], version=True)

    def level(self, at: datetime) -> Mark:
        """Just before that moment."""
        return ([Mark(at, 0, 0), *(mark for mark in self.marks if mark.at < at)])[-1]

    def area(self, since: datetime, until: datetime) -> int:
        """Byte-microseconds, by adding up rectangles."""
        total = 0
        ends = [mark.at for mark in self.marks[1:]] + [max(until, self.marks[-1].at)] if self.marks else []
        for mark, end in zip(self.marks, ends, strict=True):
            width = min(end, until) - max(mark.at, since)
            if width > timedelta():
                total += mark.bytes * (width // timedelta(microseconds=1))
        return total

    def peak(self, since: datetime, until: datetime) -> int:
        inside = [mark.bytes for mark in self.marks if since <= mark.at < until and not mark.passing]
        return max([self.level(since).bytes, *inside])


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    line, at = Timeline(), draw(st.sampled_from(SPRING_AND_AUTUMN))
    for _ in range(draw(st.integers(0, 25))):
        at += draw(st.sampled_from(STEPS)) + draw(st.sampled_from([timedelta(), timedelta(microseconds=999_983)]))
        what = draw(st.sampled_from(["store", "store", "delete", "keep", "revert"]))
        if what == "store" or len(line.sizes) < 2:
            line.store(at, draw(st.sampled_from([0, 1, 90, 2**50])))
        elif what == "delete":
            line.delete(at, draw(st.sampled_from(line.sizes)))
        elif what == "keep":
            line.keep(at, draw(st.sampled_from(line.sizes)), draw(st.integers(0, 200)))
        else:
            line.revert(at, line.sizes[0], line.sizes[1])
    return line


def bounds(at: datetime, grain: Grain, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Of the bucket a moment is in; of a day by looking at the calendar of the zone, moment by moment."""
    if grain == "minute":
        start = datetime(at.year, at.month, at.day, at.hour, at.minute, tzinfo=UTC)
        return start, start + timedelta(minutes=1)
    if grain == "hour":
        start = datetime(at.year, at.month, at.day, at.hour, tzinfo=UTC)
        return start, start + timedelta(hours=1)
    day = at.astimezone(zone).date()
    return first_of(day, zone), first_of(day + timedelta(days=1), zone)


def first_of(day: date, zone: ZoneInfo) -> datetime:
    low = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2)
    high = low + timedelta(days=4)
    while high - low > timedelta(microseconds=1):
        middle = low + (high - low) // 2
        low, high = (low, middle) if middle.astimezone(zone).date() >= day else (middle, high)
    return high


def in_batches(entries: Sequence[Record], cuts: Sequence[int]) -> list[Sequence[Record]]:
    edges = [0, *sorted(cut % (len(entries) + 1) for cut in cuts), len(entries)]
    return [entries[start:end] for start, end in pairwise(edges)]
