from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.usage.thresholds.rules import PERCENTS, Arm, Passing, band, judge, period_of, reached

sizes = st.integers(0, 2**60)
limits = st.none() | st.integers(0, 2**60)


@given(before=sizes, after=sizes, limit=limits)
def test_what_goes_up_comes_down(before: int, after: int, limit: int | None) -> None:
    arms, _ = judge({}, before, limit)
    there, up = judge(arms, after, limit)
    back, down = judge(there, before, limit)
    assert [(p.percent, p.upward) for p in up] == [(p.percent, not p.upward) for p in reversed(down)]
    assert {p: arm.reached for p, arm in back.items() if arm.reached} == {
        p: arm.reached for p, arm in arms.items() if arm.reached
    }


@given(used=sizes, limit=limits, other=sizes)
def test_inside_the_band_nothing_changes_sides(used: int, limit: int | None, other: int) -> None:
    floor, ceiling = band(used, limit)
    assert floor <= used < ceiling
    same = all(reached(p, used, limit) == reached(p, other, limit) for p in PERCENTS)
    assert same == (floor <= other < ceiling)


@given(limit=st.integers(1, 2**60))
def test_the_band_is_exact_to_the_byte(limit: int) -> None:
    _, ceiling = band(0, limit)
    assert not reached(80, ceiling - 1, limit)
    assert reached(80, ceiling, limit)


def test_just_below_is_not_reached() -> None:
    petabyte = 2**50
    assert not reached(80, petabyte * 80 // 100, petabyte)
    assert reached(80, petabyte * 80 // 100 + 1, petabyte)


def test_nothing_stored_has_reached_nothing() -> None:
    assert judge({}, 0, 0) == ({}, [])
    assert [p.percent for p in judge({}, 1, 0)[1]] == [80, 95, 100]


def test_armed_again_on_the_way_down() -> None:
    arms, passed = judge({80: Arm(3, reached=True)}, 10, 100)
    assert arms == {80: Arm(4)}
    assert passed == [Passing(80, upward=False, armed=3, used=10, limit=100)]


def test_period_is_the_month_in_utc() -> None:
    assert period_of(datetime(2026, 3, 31, 23, 59, tzinfo=UTC)) == date(2026, 3, 1)
