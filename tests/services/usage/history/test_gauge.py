"""The gauge against rectangles added up bucket by bucket."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.usage.counters.rules import State, count_left_out, fold
from services.usage.history.buckets import GRAINS, Grain, begin, day_of, edges, end, start_of
from services.usage.history.gauge import Gauge, Readings
from services.usage.history.rules import Level, expire, levels, open_reading, whole
from tests.services.usage.history.timelines import BEGIN, ZONES, Timeline, bounds, first_of, in_batches, timelines
from tests.services.usage.samples import TENANT, File, replaced, stored

CUTS = st.lists(st.integers(0, 60), max_size=8)
LATER = timedelta(days=400)


def measure(line: Timeline, cuts: Sequence[int], zone: ZoneInfo) -> tuple[State, Readings]:
    """Batch by batch, as the consumer does."""
    state, found = State(TENANT), Readings()
    for batch in in_batches(line.entries, cuts):
        change = fold(state, batch, zone)
        state = change.after
        for grain in GRAINS:
            found.of(grain).extend(change.finished.of(grain))
    return state, found


def read(
    state: State, found: Readings, grain: Grain, between: list[datetime], until: datetime, zone: ZoneInfo
) -> list[Level]:
    newest = open_reading(state.gauge, grain, state.bytes, state.files)
    return levels([*found.of(grain), *([newest] if newest else [])], between, until, zone)


@given(line=timelines(), cuts=CUTS, zone=st.sampled_from(ZONES))
def test_every_reading_is_what_rectangles_add_up_to(line: Timeline, cuts: list[int], zone: ZoneInfo) -> None:
    state, found = measure(line, cuts, zone)
    for grain in GRAINS:
        buckets = sorted({bounds(mark.at, grain, zone) for mark in line.marks})
        for reading, (since, until) in zip(found.of(grain), buckets[:-1], strict=True):
            at = reading.at if isinstance(reading.at, datetime) else first_of(reading.at, zone)
            level = line.level(until)
            assert (at, reading.bytes, reading.files) == (since, level.bytes, level.files)
            assert reading.peak == line.peak(since, until)
            assert reading.measured_at == level.at
            assert reading.integral == line.area(BEGIN - LATER, reading.measured_at)
        if buckets:
            newest = open_reading(state.gauge, grain, state.bytes, state.files)
            assert newest is not None
            assert newest.peak == line.peak(*buckets[-1])
            assert state.gauge.integral == line.area(BEGIN - LATER, line.marks[-1].at)


@given(line=timelines(), cuts=CUTS, zone=st.sampled_from(ZONES))
def test_any_split_measures_the_same(line: Timeline, cuts: list[int], zone: ZoneInfo) -> None:
    assert measure(line, cuts, zone) == measure(line, [], zone)


@given(
    line=timelines(),
    zone=st.sampled_from(ZONES),
    granularity=st.sampled_from(["minute", "hour", "day", "month"]),
    start=st.integers(-3_000, 30_000),
    length=st.integers(1, 120),
)
def test_any_range_without_gaps(line: Timeline, zone: ZoneInfo, granularity: str, start: int, length: int) -> None:
    state, found = measure(line, [5, 11], zone)
    step = {"minute": 1, "hour": 60, "day": 1440, "month": 43_200}[granularity]
    since = (line.marks[0].at if line.marks else BEGIN) + timedelta(minutes=start)
    until = since + length * timedelta(minutes=step)
    between = edges(since, until, granularity, zone, 200)  # type: ignore[arg-type]
    grain: Grain = "day" if granularity == "month" else granularity  # type: ignore[assignment]
    now = max([until, *(mark.at for mark in line.marks)])
    items = read(state, found, grain, between, now, zone)
    assert [item.at for item in items] == between[:-1]
    for item, (begins, ends) in zip(items, pairwise(between), strict=True):
        ends = min(ends, now)  # noqa: PLW2901
        level = line.level(ends) if ends < now else (line.marks or [line.level(ends)])[-1]
        assert (item.until, item.bytes, item.files) == (ends, level.bytes, level.files)
        assert item.peak == line.peak(begins, ends + timedelta(microseconds=ends == now))
        assert item.area == line.area(begins, ends)
        exact = line.area(begins, ends) / ((ends - begins) / timedelta(microseconds=1))
        assert item.average == pytest.approx(exact, abs=1, rel=1e-12)
    total = whole(items)
    assert total.area == line.area(between[0], min(between[-1], now))
    assert total.peak == line.peak(between[0], between[-1])


@given(at=st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)), zone=st.sampled_from(ZONES))  # noqa: DTZ001
def test_days_follow_each_other_without_gap_or_overlap(at: datetime, zone: ZoneInfo) -> None:
    at = at.replace(tzinfo=UTC)
    day = day_of(at, zone)
    assert start_of(day, zone) <= at < start_of(day + timedelta(days=1), zone)
    for granularity in ("minute", "hour", "day", "month"):
        start = begin(at, granularity, zone)
        assert start <= at < end(start, granularity, zone)
        assert begin(start, granularity, zone) == start


def test_a_day_that_was_left_out_has_no_bucket() -> None:
    """Samoa went over the date line and had no 30 December 2011."""
    apia = ZoneInfo("Pacific/Apia")
    since = start_of(datetime(2011, 12, 29, tzinfo=UTC).date(), apia)
    between = edges(since, since + timedelta(days=3), "day", apia, 10)
    assert [at.astimezone(apia).day for at in between] == [29, 31, 1, 2]


def test_a_replacement_between_two_minutes_has_no_peak_of_its_own() -> None:
    line = Timeline()
    line.store(BEGIN, 45)
    line.keep(BEGIN, 45, 5)
    line.revert(BEGIN + timedelta(minutes=2), 5, 45)
    line.store(BEGIN + timedelta(minutes=4), 0)
    for cuts in ([], [1, 2, 3, 4, 5]):
        state, found = measure(line, cuts, ZoneInfo("UTC"))
        assert [reading.peak for reading in found.minute] == [50, 50]
        assert (state.gauge.minute_peak, state.gauge.hour_peak) == (45, 50)


def test_half_a_replacement_that_stays_is_a_peak_all_the_same() -> None:
    """Its other half came late, or never."""
    line = Timeline()
    line.store(BEGIN, 45)
    line.write(BEGIN, replaced, File(45), File(90), reverted=True)
    line.store(BEGIN + timedelta(minutes=1), 0)
    _, found = measure(line, [], ZoneInfo("UTC"))
    assert [reading.peak for reading in found.minute] == [90]


@given(line=timelines(), which=st.integers(0, 60))
def test_one_left_out_is_measured_when_it_comes(line: Timeline, which: int) -> None:
    if not line.entries:
        return
    late = line.entries[which % len(line.entries)]
    short = fold(State(TENANT), [entry for entry in line.entries if entry is not late]).after
    after = count_left_out(short, late).after
    gauge, before = after.gauge, short.gauge
    assert gauge.measured_at == max(before.measured_at or late.time, late.time)
    waited = gauge.measured_at - (before.measured_at or gauge.measured_at)
    assert gauge.integral == before.integral + short.bytes * (waited // timedelta(microseconds=1))
    assert gauge.minute_peak >= after.bytes
    assert gauge.day_peak >= gauge.hour_peak >= gauge.minute_peak


def test_without_a_readable_time_it_counts_and_is_measured_with_the_one_before() -> None:
    line = Timeline()
    line.store(BEGIN, 10)
    line.store(BEGIN, 5)
    for header in ({}, {"ce_time": b"soon"}, {"ce_time": b"2026-03-28T11:59:00"}):
        change = fold(State(TENANT), [line.entries[0], replace(line.entries[1], headers=header)])
        assert (change.after.bytes, change.after.gauge.measured_at) == (15, BEGIN)
        assert change.after.gauge.minute_peak == 15


def test_the_day_never_goes_back_where_the_tenant_moves_west() -> None:
    auckland, honolulu = ZoneInfo("Pacific/Auckland"), ZoneInfo("Pacific/Honolulu")
    line = Timeline()
    for hours in (0, 1, 24, 48):
        line.store(BEGIN + timedelta(hours=hours), 10)
    first = fold(State(TENANT), line.entries[:1], auckland)
    rest = fold(first.after, line.entries[1:], honolulu)
    days = [reading.at for reading in rest.finished.day]
    assert days == sorted(set(days))
    between = edges(BEGIN - timedelta(days=3), BEGIN + timedelta(days=3), "day", honolulu, 10)
    found = read(rest.after, rest.finished, "day", between, between[-1], honolulu)
    assert all(level.area >= 0 for level in found)
    assert whole(found).area == line.area(between[0], between[-1])


def test_what_was_there_before_there_was_a_gauge_is_not_measured_backwards() -> None:
    state = State(TENANT, bytes=10, files=1, gauge=Gauge())
    after = fold(state, [stored(1, 5)]).after
    assert (after.gauge.integral, after.gauge.minute_peak) == (0, 15)


def test_the_newest_of_those_past_the_retention_is_kept() -> None:
    line = Timeline()
    for days in range(6):
        line.store(BEGIN + timedelta(days=days), 1)
    found = measure(line, [], ZoneInfo("UTC"))[1].day
    assert [len(expire(found, BEGIN + timedelta(days=days))) for days in (-9, 0, 1, 2, 3, 99)] == [5, 5, 5, 4, 3, 1]
    assert expire([], BEGIN) == []
