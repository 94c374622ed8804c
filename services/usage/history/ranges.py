"""Which buckets a question means."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from services.usage.errors import HistoryNotKept, NotYet, RangeEmpty, RangeTooLong
from services.usage.history.buckets import DAY, Granularity, Retention, day_of, edges, grain_of

MOST = 1_500  # items in one answer
SHOWN: dict[Granularity, timedelta] = {
    "minute": timedelta(hours=3),
    "hour": DAY,
    "day": 30 * DAY,
    "month": 365 * DAY,
}
_HOURS = 14 * DAY  # of which hours are shown where nobody asks for something else
_DAYS = 1_400 * DAY


@dataclass(frozen=True, slots=True)
class Asked:
    """Part of it or all may be left out."""

    since: datetime | None = None
    until: datetime | None = None
    granularity: Granularity | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """Buckets between `edges`, of a tenant in `zone`."""

    granularity: Granularity
    edges: list[datetime]
    zone: tzinfo

    @property
    def keys(self) -> tuple[datetime | date, datetime | date]:
        """What its readings and sums are kept under: from the first on, and before the second."""
        first, last = self.edges[0], self.edges[-1]
        if grain_of(self.granularity) != "day":
            return first, last
        return day_of(first, self.zone), day_of(last, self.zone)

    def local(self, at: datetime) -> datetime:
        return at.astimezone(self.zone if grain_of(self.granularity) == "day" else UTC)


def plan(asked: Asked, retention: Retention, now: datetime, zone: tzinfo) -> Range:
    """Aligned outward; what is still to come is cut off. Raises NotYet, RangeEmpty, RangeTooLong, HistoryNotKept."""
    if asked.since is not None and asked.since > now:
        raise NotYet
    if asked.since is not None and asked.until is not None and asked.since >= asked.until:
        raise RangeEmpty
    until = min(asked.until or now, now)
    granularity = asked.granularity or _granularity(asked.since, until, retention, now)
    kept = retention.since(granularity, now, zone)
    since = asked.since or max(until, kept + SHOWN[granularity]) - SHOWN[granularity]
    if since < kept or until < kept:
        raise HistoryNotKept(granularity, kept)
    try:
        found = edges(since, until, granularity, zone, MOST)
    except OverflowError:
        raise RangeTooLong(MOST) from None
    return Range(granularity, found, zone)


def _granularity(since: datetime | None, until: datetime, retention: Retention, now: datetime) -> Granularity:
    if since is None:
        return "hour"
    if until - since <= _HOURS and since >= now - retention.of("hour"):
        return "hour"
    return "day" if until - since <= _DAYS else "month"
