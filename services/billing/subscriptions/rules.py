"""Periods, what is left of one, and how long one may stay unpaid. Pure."""

import calendar
from datetime import UTC, date, datetime, timedelta, tzinfo

from services.billing.catalogue.plan import Interval
from services.billing.invoices.rules import shares

GRACE = timedelta(days=14)  # from the invoice of a period to the default plan
REMINDERS = (timedelta(0), timedelta(days=3), timedelta(days=7), timedelta(days=13))  # after the invoice


def boundary(anchor: datetime, number: int, interval: Interval, zone: tzinfo) -> datetime:
    """When period `number` begins; 0 is the anchor. The same day and time of day in the team's zone, or the month's
    last day where there is no such day: counted from the anchor, a 31st comes back.
    """
    local = anchor.astimezone(zone)
    months = local.year * 12 + local.month - 1 + number * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(local.day, calendar.monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day, fold=0).astimezone(UTC)


def days_of(start: datetime, end: datetime, zone: tzinfo) -> tuple[date, date]:
    """First and last day in the team's zone: the day on which the next period begins is the next one's."""
    first, last = start.astimezone(zone).date(), end.astimezone(zone).date() - timedelta(days=1)
    return first, max(first, last)


def unused(price: int, start: datetime, end: datetime, now: datetime) -> int:
    """What of the price of a period is for the time after `now`: with the rest, the price to the minor unit."""
    whole = max(1, _microseconds(end - start))
    left = min(whole, max(0, _microseconds(end - now)))
    return shares(price, [whole - left, left])[1]


def reminders_due(issued: datetime, now: datetime) -> int:
    """How many should have gone out."""
    return sum(issued + after <= now for after in REMINDERS)


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
