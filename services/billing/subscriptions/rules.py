"""Periods, what is left of one, and how long one may stay unpaid. Pure."""

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from uuid import UUID

from services.billing.catalogue.plan import Interval
from services.billing.invoices.rules import shares

GRACE = timedelta(days=14)  # from the invoice of a period to the default plan
REMINDERS = (timedelta(0), timedelta(days=3), timedelta(days=7), timedelta(days=13))  # after the invoice


@dataclass(frozen=True, slots=True)
class Part:
    """`amount` minor units of the price of a period were paid by a payment, of which `refunded` had been given back
    when the period began, and `back` have by now.
    """

    payment: UUID
    amount: int
    refunded: int = 0
    back: int = 0

    @property
    def left(self) -> int:
        return self.amount - min(self.amount, self.back - self.refunded)


def carried(parts: Sequence[Part], price: int, amount: int) -> list[Part]:
    """Whose money `amount` is, which goes over from a period of that price to the next one: by largest remainder, of
    what is in it and was not given back. What nobody paid for, as a period that staff credited, has its share, too.
    """
    gift = price - sum(part.amount for part in parts)
    found = shares(amount, [*(part.left for part in parts), gift])
    return [Part(part.payment, share, part.back) for part, share in zip(parts, found, strict=False) if share]


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
