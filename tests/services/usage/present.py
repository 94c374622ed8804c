"""The present, asked for anew by each test: the service goes by the real clock, and a month may end among the tests."""

from datetime import UTC, datetime, timedelta

from services.usage.months import Month


def now() -> datetime:
    return datetime.now(UTC)


def this_month() -> Month:
    return Month.of(now(), UTC)


def last_month() -> Month:
    return Month.of(this_month().begins(UTC) - timedelta(days=1), UTC)
