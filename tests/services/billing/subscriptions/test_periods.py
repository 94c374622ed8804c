from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.subscriptions.rules import period_end


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-01-15", "2026-02-15"),
        ("2026-01-31", "2026-02-28"),
        ("2028-01-31", "2028-02-29"),
        ("2026-12-31", "2027-01-31"),
    ],
)
def test_a_month(start: str, end: str) -> None:
    assert period_end(datetime.fromisoformat(start), "month") == datetime.fromisoformat(end)


def test_a_year_from_a_leap_day() -> None:
    assert period_end(datetime(2028, 2, 29, tzinfo=UTC), "year") == datetime(2029, 2, 28, tzinfo=UTC)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - Hypothesis adds the zone
def test_neither_short_nor_long(start: datetime) -> None:
    start = start.replace(tzinfo=UTC)
    assert timedelta(days=28) <= period_end(start, "month") - start <= timedelta(days=31)
    assert timedelta(days=365) <= period_end(start, "year") - start <= timedelta(days=366)
