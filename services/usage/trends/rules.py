"""Averages and trends over all tenants. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median

from services.usage.forecast.trend import trend

MONTH = 30  # days
LEAST = 7  # days, before a trend is told


@dataclass(frozen=True, slots=True)
class Total:
    """All tenants on one day, in bytes."""

    day: date
    tenants: int
    stored: int
    moved: int


@dataclass(frozen=True, slots=True)
class Course:
    """`trend`: percent in 30 days, of the usual; None where there is too little to tell."""

    total: int
    average: int
    trend: float | None


def course_of_storage(days: Sequence[Total]) -> Course:
    """The newest day's, and the trend of all; `days` in their order."""
    last = days[-1]
    return Course(last.stored, _share(last.stored, last.tenants), _percent([(d.day, d.stored) for d in days]))


def course_of_traffic(days: Sequence[Total]) -> Course:
    """Of the newest 30 days together, scaled up where there are fewer."""
    newest = days[-MONTH:]
    total = sum(day.moved for day in newest) * MONTH // len(newest)
    return Course(total, _share(total, days[-1].tenants), _percent([(d.day, d.moved) for d in days]))


def _share(total: int, tenants: int) -> int:
    return total // tenants if tenants else 0


def _percent(values: Sequence[tuple[date, int]]) -> float | None:
    usual = median(value for _, value in values)
    if len(values) < LEAST or not usual:
        return None
    found = trend([(float(day.toordinal()), float(value)) for day, value in values])
    return round(100 * MONTH * found.slope / usual, 2)
