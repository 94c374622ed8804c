"""Periods. Pure."""

import calendar
from datetime import datetime
from typing import Literal


def period_end(start: datetime, interval: Literal["month", "year"]) -> datetime:
    """The same day of the next month or year, or its last day where there is no such day."""
    months = start.year * 12 + start.month - 1 + (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day)
