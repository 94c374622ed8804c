"""What a view is worth, and when a day ends."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.ads.rules import day_of, is_late, lasted, midnight_after, worth
from services.billing.credits.catalogue import load_credits

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "credits_"), [(0, 0), (14, 0), (14.999, 0), (15, 1), (29.999, 1), (30, 2), (600, 2), (-5, 0)]
)
def test_seconds_of_the_server(seconds: float, credits_: int) -> None:
    now = START + timedelta(seconds=seconds)
    assert worth(lasted(START, now), load_credits().ads.rewards) == credits_


def test_late() -> None:
    assert not is_late(START, START + timedelta(seconds=600), 600)
    assert is_late(START, START + timedelta(seconds=600, microseconds=1), 600)


@pytest.mark.parametrize(
    ("zone", "day", "ends", "hours"),
    [
        ("UTC", date(2026, 3, 29), "2026-03-30T00:00:00+00:00", 24),
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-29T22:00:00+00:00", 23),
        ("Europe/Berlin", date(2026, 10, 25), "2026-10-25T23:00:00+00:00", 25),
        ("Africa/Cairo", date(2026, 4, 23), "2026-04-23T22:00:00+00:00", 24),  # where midnight itself is left out
        ("Pacific/Kiritimati", date(2026, 1, 1), "2026-01-01T10:00:00+00:00", 24),
    ],
)
def test_days_have_the_hours_they_have_there(zone: str, day: date, ends: str, hours: int) -> None:
    there = ZoneInfo(zone)
    end = midnight_after(day, there)
    assert end.isoformat() == ends
    assert end - midnight_after(day - timedelta(days=1), there) == timedelta(hours=hours)


@given(
    st.integers(0, 2 * 366 * 86400).map(lambda s: START + timedelta(seconds=s)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Africa/Cairo", "Australia/Lord_Howe"]),
)
def test_a_moment_is_before_the_end_of_its_day(now: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    day = day_of(now, zone)
    assert midnight_after(day - timedelta(days=1), zone) <= now < midnight_after(day, zone)
