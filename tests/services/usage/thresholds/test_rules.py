from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.usage.thresholds.rules import (
    DEFAULT,
    DEFAULTS,
    Arm,
    Arms,
    Crossings,
    Level,
    Passed,
    Passing,
    Scale,
    Threshold,
    period_of,
)
from tests.services.usage.samples import START, TENANT

sizes = st.integers(0, 2**60)
limits = st.none() | st.integers(0, 2**60)
percents = st.integers(1, 200).map(lambda value: Level("percent", value))
levels = percents | st.integers(1, 2**60).map(lambda value: Level("amount", value))
scales = st.builds(
    lambda chosen, slack: Scale(tuple(Threshold(level) for level in chosen), slack),
    st.lists(levels, max_size=6, unique=True),
    st.integers(0, 50),
)
USUAL = [threshold.level for threshold in DEFAULTS]


def reached(arms: Arms) -> set[Level]:
    return {level for level, arm in arms.items() if arm.reached}


@given(before=sizes, after=sizes, limit=limits, scale=scales)
def test_what_goes_up_comes_down(before: int, after: int, limit: int | None, scale: Scale) -> None:
    scale = Scale(scale.thresholds)
    arms, _ = scale.judge({}, before, limit)
    there, up = scale.judge(arms, after, limit)
    back, down = scale.judge(there, before, limit)
    assert [(p.level, p.upward) for p in up] == [(p.level, not p.upward) for p in reversed(down)]
    assert reached(back) == reached(arms)


@given(used=sizes, limit=limits, other=sizes, scale=scales)
def test_inside_the_band_nothing_changes_sides(used: int, limit: int | None, other: int, scale: Scale) -> None:
    arms, _ = scale.judge({}, used, limit)
    floor, ceiling = scale.band(arms, limit)
    assert floor <= used < ceiling
    assert (scale.judge(arms, other, limit)[1] == []) == (floor <= other < ceiling)


@given(limit=st.integers(1, 2**60))
def test_the_band_is_exact_to_the_byte(limit: int) -> None:
    _, ceiling = DEFAULT.band({}, limit)
    assert not DEFAULT.reached(DEFAULTS[0], ceiling - 1, limit)
    assert DEFAULT.reached(DEFAULTS[0], ceiling, limit)


@given(walk=st.lists(sizes, max_size=12), limit=limits, scale=scales)
def test_each_rings_once_until_it_is_armed_again(walk: list[int], limit: int | None, scale: Scale) -> None:
    arms: Arms = {}
    open_, rings = set[Level](), list[tuple[Level, int]]()
    for used in walk:
        arms, passed = scale.judge(arms, used, limit)
        for p in passed:
            assert (p.level in open_) != p.upward, "crossed and cleared take turns"
            (open_.add if p.upward else open_.remove)(p.level)
            rings += [(p.level, p.armed)] if p.upward else []
        if passed:
            told = Crossings(TENANT, "storage", arms, [Passed(p, START, None) for p in passed])
            up = [p for p in passed if p.upward]
            assert told.speaker is (up[-1] if up else None)
    assert len(rings) == len(set(rings))
    assert open_ == reached(arms)


def test_just_below_is_not_reached() -> None:
    petabyte = 2**50
    assert not DEFAULT.reached(DEFAULTS[0], petabyte * 80 // 100, petabyte)
    assert DEFAULT.reached(DEFAULTS[0], petabyte * 80 // 100 + 1, petabyte)


def test_nothing_stored_has_reached_nothing() -> None:
    assert DEFAULT.judge({}, 0, 0) == ({}, [])
    assert [p.level for p in DEFAULT.judge({}, 1, 0)[1]] == USUAL


def test_armed_again_on_the_way_down() -> None:
    arms, passed = DEFAULT.judge({USUAL[0]: Arm(3, reached=True)}, 10, 100)
    assert arms == {USUAL[0]: Arm(4)}
    assert passed == [Passing(DEFAULTS[0], upward=False, armed=3, used=10, limit=100)]


def test_with_slack_it_is_armed_again_only_well_below() -> None:
    scale = Scale(slack=5)
    arms, _ = scale.judge({}, 80, 100)
    for used in (79, 80, 75):
        arms, passed = scale.judge(arms, used, 100)
        assert passed == []
    arms, passed = scale.judge(arms, 74, 100)
    assert [(p.level.value, p.upward) for p in passed] == [(80, False)]


def test_an_amount_needs_no_limit() -> None:
    scale = Scale((Threshold(Level("amount", 50)), Threshold(Level("percent", 40)), Threshold(Level("amount", 200))))
    assert [p.level for p in scale.judge({}, 60, None)[1]] == [Level("amount", 50)]
    assert [p.level.value for p in scale.judge({}, 60, 100)[1]] == [40, 50], "the lowest first, in the metric's unit"


def test_one_that_is_no_threshold_any_more_is_left_and_keeps_its_count() -> None:
    arms, _ = DEFAULT.judge({}, 100, 100)
    fewer = Scale(DEFAULTS[:1])
    arms, passed = fewer.judge(arms, 100, 100)
    assert [(p.level.value, p.upward) for p in passed] == [(100, False), (95, False)]
    assert [(p.level.value, p.armed) for p in DEFAULT.judge(arms, 100, 100)[1]] == [(95, 2), (100, 2)]


def test_only_hard_ones_stand_before_the_limit() -> None:
    soft, hard = Threshold(Level("percent", 50)), Threshold(Level("percent", 90), hard=True)
    assert Scale((soft, hard)).ceiling(1000) == 900
    assert Scale((soft,)).ceiling(1000) == 1000
    assert Scale((soft, hard)).ceiling(None) is None
    assert Scale((Threshold(Level("amount", 7), hard=True),)).ceiling(None) == 7


def test_period_is_the_month_in_utc() -> None:
    assert period_of(datetime(2026, 3, 31, 23, 59, tzinfo=UTC)) == date(2026, 3, 1)
