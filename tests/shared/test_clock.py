from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.clock import Clock, FixedClock, SystemClock

AT = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
STEPS = st.timedeltas(min_value=timedelta(days=-365), max_value=timedelta(days=365))


def test_the_systems_clock_tells_the_present_in_utc() -> None:
    clock: Clock = SystemClock()
    before = datetime.now(UTC)
    now = clock.now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)


def test_a_fixed_clock_stands_still() -> None:
    clock: Clock = FixedClock(AT)
    assert [clock.now(), clock.now()] == [AT, AT]


@given(st.lists(STEPS, max_size=5))
def test_a_fixed_clock_moves_by_what_it_is_advanced(steps: list[timedelta]) -> None:
    clock = FixedClock(AT)
    for step in steps:
        clock.advance(step)
    assert clock.now() == AT + sum(steps, timedelta())
