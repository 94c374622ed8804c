"""When what grows will have reached its limit. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from itertools import accumulate
from typing import Literal

from services.usage.forecast.trend import Point, Trend, trend
from services.usage.history.buckets import DAY, day_of, start_of

Status = Literal["not_enough_data", "unlimited", "not_growing", "full", "will_fill", "will_last"]

WINDOW = 90  # days that are looked at
STORAGE_DAYS, TRAFFIC_DAYS = 7, 3  # whole ones, before anything is said
_FAR = 36_500  # days, beyond which growth is none


@dataclass(frozen=True, slots=True)
class Forecast:
    """`day`: when the limit will be reached, where the tenant is; `earliest` and `latest` by the interval of the trend,
    None where that is never. `per_day`: bytes.
    """

    status: Status
    per_day: float | None = None
    day: date | None = None
    earliest: date | None = None
    latest: date | None = None


@dataclass(frozen=True, slots=True)
class Filling:
    """Bytes, of a limit that may be none."""

    used: int
    limit: int | None
    now: datetime
    zone: tzinfo

    @property
    def today(self) -> date:
        return day_of(self.now, self.zone)

    @property
    def moment(self) -> float:
        """In days."""
        since = self.now - start_of(self.today, self.zone)
        return self.today.toordinal() + min(1.0, since / DAY)

    def reached(self, per_day: float) -> date | None:
        """When the rest is used up at that rate; None is never."""
        if self.limit is None or per_day <= 0 or (days := (self.limit - self.used) / per_day) > _FAR:
            return None
        return day_of(self.now + timedelta(days=days), self.zone)


def forecast_storage(ends: Mapping[date, int], filling: Filling) -> Forecast:
    """`ends`: what was stored at the end of days that had changes, and of one before the window if there was any."""
    if early := _early(filling):
        return early
    points = _levels(ends, filling)
    return Forecast("not_enough_data") if len(points) <= STORAGE_DAYS else _extend(trend(points), filling)


def forecast_traffic(days: Mapping[date, int], filling: Filling, first: date | None, reset: date) -> Forecast:
    """`days`: what was moved on days of the running month, today's so far among them; on `reset` it begins anew.

    `first`: the first day that ever had any. A day without traffic tells something only after that.
    """
    if early := _early(filling):
        return early
    today = filling.today.toordinal()
    begin = max(filling.today.replace(day=1), first or filling.today).toordinal()
    if today - begin < TRAFFIC_DAYS:
        return Forecast("not_enough_data")
    sums = accumulate((days.get(date.fromordinal(day), 0) for day in range(begin, today)), initial=0)
    points: list[Point] = [(begin + n, total) for n, total in enumerate(sums)]
    if filling.moment > today:
        points.append((filling.moment, filling.used))
    found = _extend(trend(points), filling)
    if found.day is not None and found.day < reset:
        return replace(found, latest=found.latest if found.latest and found.latest < reset else None)
    earliest = found.earliest if found.earliest and found.earliest < reset else None
    return replace(found, status="will_last", day=None, earliest=earliest, latest=None)


def _early(filling: Filling) -> Forecast | None:
    if filling.limit is None:
        return Forecast("unlimited")
    return Forecast("full") if filling.used >= filling.limit else None


def _levels(ends: Mapping[date, int], filling: Filling) -> list[Point]:
    """Of every day that is over, and now. What did not change is known, too."""
    first = filling.today - WINDOW * DAY
    days = sorted(day for day in ends if day < filling.today)
    if not days:
        return []
    points, held = list[Point](), ends[days[0]]
    for n in range(max(first, days[0]).toordinal(), filling.today.toordinal()):
        held = ends.get(date.fromordinal(n), held)
        points.append((float(n + 1), float(held)))
    if filling.moment > filling.today.toordinal():
        points.append((filling.moment, float(filling.used)))
    return points


def _extend(found: Trend, filling: Filling) -> Forecast:
    day = filling.reached(found.slope)
    if day is None:
        return Forecast("not_growing", found.slope, earliest=filling.reached(found.high))
    return Forecast("will_fill", found.slope, day, filling.reached(found.high), filling.reached(found.low))
