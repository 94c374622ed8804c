"""Months of traffic, images and requests against an accountant who adds nothing up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.usage.entitlements.rules import Terms
from services.usage.metering.meters import METERS, MONTHLY
from services.usage.metering.rules import Metered, Months, Step, Sums, rejudge, review, steps_of, walk
from services.usage.months import Month
from services.usage.thresholds.rules import Level, Passed, Scale, Threshold
from shared.events import FileStored, Metric, TrafficRecorded
from shared.kafka.records import Record
from tests.services.usage.samples import PROJECTS, TENANT, bought, granted, stored, traffic

MARCH, APRIL, MAY = Month(2026, 3), Month(2026, 4), Month(2026, 5)
MONTHS = [MARCH, APRIL, MAY]
SCALES: dict[Metric, Scale] = {
    "traffic": Scale(),
    "images": Scale(),
    "requests": Scale((Threshold(Level("amount", 3)), Threshold(Level("amount", 7)))),
}
LIMITS = st.none() | st.integers(0, 100)


@dataclass(frozen=True)
class Held:
    """What the tables would hold."""

    months: Months = field(default_factory=lambda: Months(TENANT, Terms(), None, {}, {}, SCALES))
    passed: tuple[tuple[Metric, Passed], ...] = ()

    def then(self, entries: Sequence[Record], newest: Month = MAY) -> "Held":
        return self.keep(walk(self.months, steps_of(entries, 0, UTC), newest), entries)

    def keep(self, done: Metered, entries: Sequence[Record] = ()) -> "Held":
        sums = dict(self.months.sums)
        for month, more in done.added.items():
            sums[month] = sums.get(month, Sums()).plus(more)
        terms = self.months.terms
        for entry in entries:
            if entry.topic == "entitlements.v1":
                offered = Terms.of(entry.event.version, "free", entry.event.entitlements)  # type: ignore[union-attr]
                terms = offered if offered.version > terms.version else terms
        arms = dict(self.months.arms) | {c.metric: c.arms for c in done.crossings}
        begun = done.begun[-1] if done.begun else self.months.begun
        passed = self.passed + tuple((c.metric, p) for c in done.crossings for p in c.passed)
        # Each metric's are in order; which of two comes first is nobody's business.
        passed = tuple(sorted(passed, key=lambda one: one[0]))
        return Held(replace(self.months, terms=terms, sums=sums, arms=arms, begun=begun), passed)

    def rings(self, metric: Metric) -> list[tuple[int, bool, int]]:
        """(level, upward, month) as they came."""
        mine = [p for name, p in self.passed if name == metric]
        return [(p.passing.level.value, p.passing.upward, p.month.month) for p in mine]


def day(month: Month, of: int = 10) -> datetime:
    return datetime(month.year, month.month, of, 12, tzinfo=UTC)


def moved(seq: int, month: Month, size: int, requests: int = 0) -> Record:
    return traffic(seq, day(month), (PROJECTS[0], size // 2, 0, 0), (None, 0, size - size // 2, requests))


def image(seq: int, month: Month) -> Record:
    return stored(seq, 1, image=month.first)


@st.composite
def histories(draw: st.DrawFn, *, limits: bool = True) -> list[Record]:
    """Months mostly one after the other, some amounts late and some early, with other limits in between."""
    entries = [granted(1, None, traffic=100, images=10, at=day(MARCH, 1))]
    versions, files, running = 1, 0, 0
    for seq in range(1, draw(st.integers(1, 30))):
        running = min(2, running + draw(st.sampled_from([0, 0, 0, 0, 1])))
        month = MONTHS[draw(st.sampled_from([running, running, running, 0, 1]))]
        match draw(st.sampled_from(["traffic", "traffic", "image", "file", *(["limit", "bought"] if limits else [])])):
            case "traffic":
                entries.append(moved(seq, month, draw(st.integers(0, 60)), draw(st.integers(0, 4))))
            case "image":
                files += 1
                entries.append(image(files, month))
            case "file":
                files += 1
                entries.append(stored(files, 5))
            case "bought":
                entries.append(bought(seq, draw(st.integers(1, 60)), str(month), at=day(month)))
            case _:
                versions += 1
                at = day(MONTHS[running])
                entries.append(granted(versions, None, traffic=draw(LIMITS), images=draw(LIMITS), at=at))
    return entries


def in_parts(entries: Sequence[Record], cuts: Sequence[int]) -> Held:
    held = Held()
    for start, end in pairwise([0, *sorted(cut % (len(entries) + 1) for cut in cuts), len(entries)]):
        held = held.then(entries[start:end])
    return held


@given(entries=histories(), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_any_split_gives_the_same_sums_and_alerts(entries: list[Record], cuts: list[int]) -> None:
    assert in_parts(entries, cuts) == in_parts(entries, [])


@given(entries=histories())
def test_sums_are_what_happened(entries: list[Record]) -> None:
    sums = in_parts(entries, []).months.sums
    for month in MONTHS:
        held = sums.get(month, Sums())
        items = [
            item
            for event in (entry.event for entry in entries)
            if isinstance(event, TrafficRecorded) and event.until.month == month.month
            for item in event.items
        ]
        assert held.used(METERS["traffic"]) == sum(item.bytes_in + item.bytes_out for item in items)
        assert held.requests == sum(item.requests for item in items)
        taken = [e.event.image_month for e in entries if isinstance(e.event, FileStored)]
        assert held.images == taken.count(month.first)


@given(entries=histories(), counted=st.dictionaries(st.sampled_from(MONTHS), st.integers(0, 20)))
def test_a_correction_brings_images_to_what_happened(entries: list[Record], counted: dict[Month, int]) -> None:
    """Whatever was counted of each month; and judges the month that runs by it."""
    right = in_parts(entries, [])
    sums = {month: replace(right.months.sums.get(month, Sums()), images=counted.get(month, 0)) for month in MONTHS}
    wrong = Held(replace(right.months, sums=sums), right.passed)
    taken = Counter(e.event.image_month for e in entries if isinstance(e.event, FileStored))
    missing = {month: taken[month.first] - sums[month].images for month in MONTHS}
    steps = [Step(month, day(MAY, 20), None, Sums(images=more)) for month, more in missing.items() if more]
    after = wrong.keep(walk(wrong.months, steps, MAY))
    assert {month: after.months.sums[month].images for month in MONTHS} == {m: taken[m.first] for m in MONTHS}
    if steps and (month := after.months.begun) is not None:
        assert [c for c in review(after.months, month, day(month))[1] if c.metric == "images"] == []


@given(entries=histories(limits=False))
def test_once_a_threshold_and_month_exactly_those_that_were_passed(entries: list[Record]) -> None:
    """Of each month as far as it had come when the next began; late ones ring nothing."""
    held = in_parts(entries, [])
    for meter, limit in ((METERS["traffic"], 100), (METERS["images"], 10), (METERS["requests"], None)):
        expected = set()
        for month, peak in _peaks(entries, meter.metric).items():
            for threshold in SCALES[meter.metric].thresholds:
                step = threshold.level.step(limit)
                if step is not None and peak >= step:
                    expected.add((threshold.level.value, month.month))
        up = [(value, month) for value, upward, month in held.rings(meter.metric) if upward]
        assert Counter(up) == Counter(expected)
        left = [(value, month) for value, upward, month in held.rings(meter.metric) if not upward]
        begun = held.months.begun
        assert set(left) == {(value, month) for value, month in expected if begun is not None and month < begun.month}


def _peaks(entries: Sequence[Record], metric: Metric) -> dict[Month, int]:
    running, sums, peaks = 0, Counter[int](), dict[Month, int]()
    for entry in entries:
        event = entry.event
        if isinstance(event, TrafficRecorded):
            month = event.until.month
            more = sum(i.requests if metric == "requests" else i.bytes_in + i.bytes_out for i in event.items)
            more *= metric != "images"
        elif isinstance(event, FileStored) and event.image_month is not None:
            month, more = event.image_month.month, int(metric == "images")
        else:
            month, more = MARCH.month if entry.topic == "entitlements.v1" else 0, 0
        running = max(running, month)
        sums[month] += more
        if month == running and month:
            peaks[Month(2026, month)] = sums[month]
    return peaks


@given(entries=histories())
def test_crossed_and_cleared_take_turns_and_nothing_is_left_to_find(entries: list[Record]) -> None:
    held = in_parts(entries, [])
    open_ = set[tuple[Metric, Level]]()
    rings = list[tuple[Metric, Level, int]]()
    for metric, passed in held.passed:
        key = metric, passed.passing.level
        assert (key in open_) != passed.passing.upward
        (open_.add if passed.passing.upward else open_.remove)(key)
        rings += [(*key, passed.passing.armed)] if passed.passing.upward else []
    assert len(rings) == len(set(rings))
    month = held.months.begun
    assert month is not None
    begun, missed = review(held.months, month, day(month))
    assert (begun.begun, begun.crossings, missed) == ([], [], [])
    sums = held.months.sums.get(month, Sums())
    for meter in MONTHLY:
        limit, scale = sums.limit(meter, held.months.terms.limit_of(meter.limit)), SCALES[meter.metric]
        stands = {t.level for t in scale.thresholds if scale.reached(t, sums.used(meter), limit)}
        assert {level for metric, level in open_ if metric == meter.metric} == stands


@given(entries=histories())
def test_the_sweep_begins_the_month_and_arms_what_was_reached(entries: list[Record]) -> None:
    held = in_parts(entries, [])
    june = Month(2026, 6)
    begun, missed = review(held.months, june, day(june))
    after = held.keep(begun)
    assert missed == []
    assert after.months.begun == june
    assert not any(arm.reached for arms in after.months.arms.values() for arm in arms.values())
    assert all(not p.passing.upward for c in begun.crossings for p in c.passed)
    # And nothing is said twice when the first amount comes.
    late = after.then([moved(99, MAY, 500, 50), moved(100, june, 0)], june)
    assert late.passed == after.passed


def test_the_new_month_begins_from_nothing_and_rings_again() -> None:
    held = Held().then([granted(1, None, traffic=100, at=day(MARCH, 1)), moved(1, MARCH, 96)])
    held = held.then([moved(2, APRIL, 1), moved(3, APRIL, 80)])
    assert held.rings("traffic") == [(80, True, 3), (95, True, 3), (95, False, 3), (80, False, 3), (80, True, 4)]


def test_late_amounts_disturb_nothing() -> None:
    held = Held().then([granted(1, None, traffic=100, at=day(MARCH, 1)), moved(1, MARCH, 10), moved(2, APRIL, 85)])
    before = held.passed
    held = held.then([moved(3, MARCH, 500, 99), image(1, MARCH)])
    assert held.passed == before
    assert held.months.sums[MARCH] == Sums(255, 255, 99, 1)


def test_what_is_far_ahead_waits_for_its_month() -> None:
    held = Held().then([granted(1, None, traffic=100, at=day(MARCH, 1)), moved(1, MAY, 85)], newest=APRIL)
    assert (held.passed, held.months.begun) == ((), MARCH)
    held = held.then([moved(2, MAY, 1)])
    assert held.rings("traffic") == [(80, True, 5)]


def test_another_limit_judges_every_metric_at_once() -> None:
    held = Held().then(
        [granted(1, None, at=day(MARCH, 1)), moved(1, MARCH, 90), *(image(n, MARCH) for n in range(1, 5))]
    )
    assert held.passed == ()
    held = held.then([granted(2, None, traffic=100, images=5, at=day(MARCH))])
    assert (held.rings("traffic"), held.rings("images")) == ([(80, True, 3)], [(80, True, 3)])
    held = held.then([granted(3, None, traffic=1000, images=None, at=day(MARCH))])
    assert (held.rings("traffic")[1:], held.rings("images")[1:]) == ([(80, False, 3)], [(80, False, 3)])


def test_repeats_of_the_ledger_are_none() -> None:
    entries = [image(1, MARCH), stored(2, 5), image(3, MARCH)]
    assert [len(steps_of(entries, position, UTC)) for position in (0, 1, 2, 3)] == [2, 1, 1, 0]
    assert len(steps_of([*entries, *entries], 0, UTC)) == 2


def test_thresholds_just_chosen_are_judged_by_the_month_that_runs() -> None:
    held = Held().then([granted(1, None, traffic=100, at=day(MARCH, 1)), moved(1, MARCH, 60)])
    chosen = replace(held.months, scales={**SCALES, "traffic": Scale((Threshold(Level("percent", 50)),))})
    assert held.keep(rejudge(chosen, MARCH, day(MARCH), None)).rings("traffic") == [(50, True, 3)]
    assert held.keep(rejudge(chosen, APRIL, day(APRIL), None)).rings("traffic") == []


@pytest.mark.parametrize(
    ("now", "zone", "at"),
    [
        (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), "UTC", datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), "Europe/Berlin", datetime(2027, 1, 31, 23, tzinfo=UTC)),
        (datetime(2026, 7, 1, 3, tzinfo=UTC), "America/Los_Angeles", datetime(2026, 7, 1, 7, tzinfo=UTC)),
    ],
)
def test_it_begins_anew_where_the_tenant_is(now: datetime, zone: str, at: datetime) -> None:
    assert METERS["traffic"].reset_at(now, ZoneInfo(zone)) == at
    assert METERS["storage"].reset_at(now, ZoneInfo(zone)) is None
    assert Month.of(at, ZoneInfo(zone)).first == at.astimezone(ZoneInfo(zone)).date()
    assert Month.of(at - timedelta(microseconds=1), ZoneInfo(zone)).next == Month.of(at, ZoneInfo(zone))


def test_every_metric_has_its_row() -> None:
    assert list(METERS) == list(get_args(Metric))
    assert {m.metric for m in METERS.values() if not m.limited} == {"requests", "disk"}
    assert {m.metric for m in METERS.values() if m.monthly} == {"traffic", "images", "requests", "credits"}
