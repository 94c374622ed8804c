from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.subscriptions.rules import GRACE, REMINDERS, boundary, reminders_due, unused

MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001 - the zone comes
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu"]).map(
    ZoneInfo
)


@pytest.mark.parametrize(
    ("start", "number", "end"),
    [
        ("2026-01-15", 1, "2026-02-15"),
        ("2026-01-31", 1, "2026-02-28"),
        ("2026-01-31", 2, "2026-03-31"),  # a 31st comes back
        ("2028-01-31", 1, "2028-02-29"),
        ("2026-12-31", 1, "2027-01-31"),
    ],
)
def test_months(start: str, number: int, end: str) -> None:
    anchor, found = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (start, end))
    assert boundary(anchor, number, "month", UTC) == found


def test_years_of_a_leap_day() -> None:
    anchor = datetime(2028, 2, 29, tzinfo=UTC)
    assert [boundary(anchor, n, "year", UTC).date().isoformat() for n in (1, 2, 4)] == [
        *("2029-02-28", "2030-02-28", "2032-02-29")
    ]


def test_the_time_of_day_is_the_team_s() -> None:
    """09:00 in Berlin before and after the clocks go forward; and a time that does not exist that day."""
    berlin = ZoneInfo("Europe/Berlin")
    anchor = datetime(2026, 3, 15, 9, tzinfo=berlin)
    assert boundary(anchor, 1, "month", berlin) == datetime(2026, 4, 15, 9, tzinfo=berlin)
    assert boundary(anchor, 1, "month", berlin) - anchor == timedelta(days=31, hours=-1)
    missing = boundary(datetime(2026, 2, 28, 2, 30, tzinfo=berlin), 1, "month", berlin)
    assert missing == datetime(2026, 3, 28, 2, 30, tzinfo=berlin)
    skipped = boundary(datetime(2026, 2, 28, 2, 30, tzinfo=berlin).replace(day=1), 1, "month", berlin)
    assert skipped.date() == datetime(2026, 3, 1, tzinfo=UTC).date()


@given(MOMENTS, st.integers(0, 60), ZONES)
def test_periods_join_and_are_neither_short_nor_long(start: datetime, number: int, zone: ZoneInfo) -> None:
    anchor = start.replace(tzinfo=UTC)
    begin, end = boundary(anchor, number, "month", zone), boundary(anchor, number + 1, "month", zone)
    assert timedelta(days=27, hours=22) <= end - begin <= timedelta(days=31, hours=2)
    year = boundary(anchor, 1, "year", zone) - boundary(anchor, 0, "year", zone)
    assert timedelta(days=364, hours=22) <= year <= timedelta(days=366, hours=2)


@given(st.integers(0, 10**12), st.integers(1, 366 * 86_400), st.integers(-10, 400 * 86_400))
def test_what_is_used_and_what_is_not_are_the_price(price: int, length: int, passed: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    end, now = start + timedelta(seconds=length), start + timedelta(seconds=passed)
    left = unused(price, start, end, now)
    exact = price * max(0, min(length, length - passed)) / length
    assert 0 <= left <= price
    assert abs(left - exact) <= 1 + price * 1e-12
    later = unused(price, start, end, now + timedelta(seconds=1))
    assert later <= left


def test_reminders() -> None:
    issued = datetime(2026, 1, 1, tzinfo=UTC)
    assert [reminders_due(issued, issued + timedelta(days=day)) for day in (0, 2, 3, 7, 12, 13, 60)] == [
        *(1, 1, 2, 3, 3, 4, 4)
    ]
    assert max(REMINDERS) < GRACE
