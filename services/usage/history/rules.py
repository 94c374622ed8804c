"""From readings to buckets without gaps, and from traffic to its sums. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from uuid import UUID

from services.usage.history.buckets import GRAINS, Grain, begin, day_of, start_of
from services.usage.history.gauge import Gauge, Reading
from shared.events import TrafficRecorded

Bucket = tuple[UUID, datetime | date]  # tenant, and when it begins
_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class Flow:
    bytes_in: int = 0
    bytes_out: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """A bucket of what is stored: at its end, at most, and bytes times microseconds from `at` to `until`."""

    at: datetime
    until: datetime
    bytes: int
    files: int
    peak: int
    area: int

    @property
    def average(self) -> int:
        """Bytes, to the nearest."""
        length = (self.until - self.at) // _MICROSECOND
        return (2 * self.area + length) // (2 * length) if length else self.bytes


def expire(readings: Sequence[Reading], horizon: datetime) -> Sequence[Reading]:
    """Those that are still kept, and the newest older one: it says what was carried into them."""
    old = sum(reading.measured_at < horizon for reading in readings)
    return readings[max(0, old - 1) :]


def open_reading(held: Gauge, grain: Grain, size: int, files: int) -> Reading | None:
    """Of the bucket that is not over yet."""
    if held.measured_at is None or held.day is None:
        return None
    peak = {"minute": held.minute_peak, "hour": held.hour_peak, "day": held.day_peak}[grain]
    at = held.day if grain == "day" else begin(held.measured_at, grain, UTC)
    return Reading(at, size, files, peak, held.integral, held.measured_at)


def levels(readings: Sequence[Reading], edges: Sequence[datetime], until: datetime, zone: tzinfo) -> list[Level]:
    """Of the buckets between `edges`, the last one up to `until`. Before the first reading nothing was stored."""
    found: list[Level] = []
    last, taken, area = Reading(edges[0], 0, 0, 0, 0, edges[0]), 0, 0
    starts = [_instant(reading.at, zone) for reading in readings]
    for since, ends in pairwise([*edges[:1], *edges]):
        peak = last.bytes
        while taken < len(readings) and starts[taken] < ends:
            last, taken = readings[taken], taken + 1
            peak = max(peak, last.peak)
        # Never less: after a move to another zone a day may begin after its first readings.
        before, area = area, max(area, _integral(last, min(ends, until)))
        if since < ends:
            peak = max(peak, last.bytes)
            found.append(Level(since, min(ends, until), last.bytes, last.files, peak, area - before))
    return found


def whole(parts: Sequence[Level]) -> Level:
    """Of all buckets together; there is one at least."""
    first, last = parts[0], parts[-1]
    peak, area = max(part.peak for part in parts), sum(part.area for part in parts)
    return Level(first.at, last.until, last.bytes, last.files, peak, area)


def flows(events: Iterable[TrafficRecorded], zones: Mapping[UUID, tzinfo]) -> dict[Grain, dict[Bucket, Flow]]:
    """A stretch is of the minute it ends in; one that ends with the minute is of that minute."""
    found: dict[Grain, dict[Bucket, Flow]] = {grain: defaultdict(Flow) for grain in GRAINS}
    for event in events:
        at, zone = event.until - _MICROSECOND, zones[event.tenant_id]
        begins: dict[Grain, datetime | date] = {
            "minute": begin(at, "minute", UTC),
            "hour": begin(at, "hour", UTC),
            "day": day_of(at, zone),
        }
        for grain, start in begins.items():
            flow = found[grain][event.tenant_id, start]
            flow.bytes_in += sum(item.bytes_in for item in event.items)
            flow.bytes_out += sum(item.bytes_out for item in event.items)
            flow.requests += sum(item.requests for item in event.items)
    return found


def pour(held: Mapping[datetime | date, Flow], edges: Sequence[datetime], zone: tzinfo) -> list[Flow]:
    """What was moved in each of the buckets between `edges`."""
    found = [Flow() for _ in edges[1:]]
    place = 0
    for start, flow in sorted(held.items(), key=lambda item: _instant(item[0], zone)):
        while place < len(found) - 1 and _instant(start, zone) >= edges[place + 1]:
            place += 1
        found[place].bytes_in += flow.bytes_in
        found[place].bytes_out += flow.bytes_out
        found[place].requests += flow.requests
    return found


def _instant(at: datetime | date, zone: tzinfo) -> datetime:
    return at if isinstance(at, datetime) else start_of(at, zone)


def _integral(last: Reading, at: datetime) -> int:
    return last.integral + last.bytes * max(0, (at - last.measured_at) // _MICROSECOND)
