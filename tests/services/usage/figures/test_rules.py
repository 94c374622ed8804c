"""What is told outright against somebody who looks at the newest alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.usage.entitlements.rules import Terms
from services.usage.figures.rules import Held, Noted, rejudge, review, walk
from services.usage.metering.meters import FIGURES, TELLING
from services.usage.months import Month
from services.usage.thresholds.rules import Level, Passed, Scale, Threshold
from shared.events import EVENTS, EntitlementsChanged, Metric, TenantDeleted, TenantEvent, TenantUpdated
from shared.kafka.records import Record
from tests.services.usage.samples import TENANT, credited, granted, told

MARCH, APRIL, FAR = Month(2026, 3), Month(2026, 4), Month(2999, 1)
AT = datetime(2026, 4, 2, tzinfo=UTC)
SMALL, LIMIT = st.integers(0, 12), st.none() | st.integers(0, 12)


def team(seq: int, members: int, projects: int = 0) -> Record:
    return told(TENANT, seq, TenantUpdated, members=members, projects=projects)


@dataclass
class Standing:
    """What is kept from one walk to the next, as the tables do."""

    held: Held = field(
        default_factory=lambda: Held(TENANT, Terms(), {}, {}, {meter.metric: meter.scale() for meter in FIGURES})
    )
    passed: tuple[tuple[Metric, Passed], ...] = ()

    def then(self, entries: Sequence[Record], newest: Month = APRIL) -> "Standing":
        terms = self.held.terms
        after = self.keep(walk(self.held, entries, newest))
        for event in (entry.event for entry in entries):
            if isinstance(event, EntitlementsChanged) and event.version > terms.version:
                terms = Terms.of(event.version, event.plan, event.entitlements)
        return replace(after, held=replace(after.held, terms=terms))

    def keep(self, noted: Noted) -> "Standing":
        arms = {**self.held.arms, **{c.metric: c.arms for c in noted.crossings}}
        held = replace(self.held, figures={**self.held.figures, **noted.figures}, arms=arms)
        return Standing(held, (*self.passed, *((c.metric, p) for c in noted.crossings for p in c.passed)))

    def of(self, metric: Metric) -> list[Passed]:
        return [passed for name, passed in self.passed if name == metric]

    def rings(self, metric: Metric) -> list[tuple[int, bool]]:
        return [(p.passing.level.value, p.passing.upward) for p in self.of(metric)]


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """Each topic in its order, the topics in any; some of it comes again, later."""
    teams = [team(n + 1, max(1, draw(SMALL)), draw(SMALL)) for n in range(draw(st.integers(0, 8)))]
    months = sorted(draw(st.lists(st.sampled_from(["2026-03", "2026-04"]), max_size=8)))
    credits_ = [credited(n + 1, draw(SMALL), draw(SMALL), month) for n, month in enumerate(months)]
    plans = [granted(n + 1, None, members=draw(LIMIT), projects=draw(LIMIT)) for n in range(draw(st.integers(0, 4)))]
    streams = [list(reversed(stream)) for stream in (teams, credits_, plans)]
    seen: list[Record] = []
    while any(streams):
        stream = draw(st.sampled_from([stream for stream in streams if stream]))
        seen.append(stream.pop())
        if draw(st.booleans()):
            seen.append(draw(st.sampled_from(seen)))
    return seen


@given(entries=histories(), cuts=st.lists(st.integers(0, 40)))
def test_the_same_however_batched_and_the_newest_in_the_end(entries: list[Record], cuts: list[int]) -> None:
    whole, parts, bounds = Standing().then(entries), Standing(), [0, *sorted(cuts), len(entries)]
    for begin, end in pairwise(bounds):
        parts = parts.then(entries[begin:end])
    assert parts.held == whole.held
    for meter in FIGURES:
        assert parts.of(meter.metric) == whole.of(meter.metric)
    newest = {e.topic: e for e in sorted(entries, key=lambda entry: entry.seq)}
    figures = {metric: (f.used, f.remaining) for metric, f in whole.held.figures.items()}
    state = newest.get("tenants.v1")
    wanted: dict[Metric, tuple[int, int | None]] = {}
    if state is not None and isinstance(state.event, TenantEvent):
        wanted = {"members": (state.event.members, None), "projects": (state.event.projects, None)}
    if (spent := newest.get("billing.v1")) is not None:
        wanted["credits"] = (spent.event.spent_month, spent.event.balance)  # type: ignore[union-attr]
    assert figures == wanted


@given(entries=histories())
def test_crossed_and_cleared_take_turns_and_nothing_is_left_to_find(entries: list[Record]) -> None:
    after = Standing().then(entries)
    open_, rung = set[tuple[Metric, Level]](), set[tuple[Metric, Level, int]]()
    for metric, passed in after.passed:
        key = metric, passed.passing.level
        assert (key in open_) != passed.passing.upward
        (open_.add if passed.passing.upward else open_.remove)(key)
        if passed.passing.upward:
            assert (*key, passed.passing.armed) not in rung
            rung.add((*key, passed.passing.armed))
    begun, missed = review(after.held, MARCH, AT)
    assert (begun.figures, begun.crossings, missed) == ({}, [], [])
    for meter in FIGURES:
        figure = after.held.figures.get(meter.metric)
        granted_limit = after.held.terms.limit_of(meter.limit)
        limit = granted_limit if figure is None else figure.limit(granted_limit)
        # Percents of whole numbers; what every tenant has is no share of anything.
        stands = {
            level
            for level in (80, 95, 100)
            if figure is not None and limit is not None and figure.used > meter.least
            if figure.used * 100 >= level * limit
        }
        assert {level.value for metric, level in open_ if metric == meter.metric} == stands


@given(entries=histories())
def test_a_new_month_leaves_what_the_old_one_had_reached(entries: list[Record]) -> None:
    after = Standing().then(entries)
    begun, missed = review(after.held, Month(2026, 5), AT)
    assert missed == []
    assert {c.metric for c in begun.crossings} <= {"credits"}
    assert all(not p.passing.upward for c in begun.crossings for p in c.passed)
    later = after.keep(begun)
    assert (figure := later.held.figures.get("credits")) is None or (figure.used, figure.month) == (0, Month(2026, 5))
    assert not any(arm.reached for arm in later.held.arms.get("credits", {}).values())


def test_one_seat_of_one_is_nobody_to_warn() -> None:
    alone = Standing().then([granted(1, None, members=1), team(1, 1)])
    assert alone.passed == ()
    assert alone.then([team(2, 2)]).rings("members") == [(80, True), (95, True), (100, True)]
    assert Standing().then([granted(1, None, members=2), team(1, 1)]).passed == ()


def test_a_top_up_arms_again() -> None:
    spent = Standing().then([credited(1, 20, 80)])
    assert spent.rings("credits") == [(80, True)]
    assert spent.then([credited(2, 21, 80)]).rings("credits") == [(80, True), (80, False)]


def test_late_news_of_an_older_month_say_only_what_is_left() -> None:
    after = Standing().then([credited(1, 0, 9, "2026-04"), credited(2, 5, 95, "2026-03")])
    figure = after.held.figures["credits"]
    assert (figure.used, figure.remaining, figure.month) == (0, 5, APRIL)


def test_a_month_far_ahead_is_the_newest_that_may_be() -> None:
    after = Standing().then([credited(1, 1, 1, str(FAR))])
    assert after.held.figures["credits"].month == APRIL


def test_thresholds_just_chosen_are_judged_by_the_month_that_runs() -> None:
    held = Standing().then([credited(1, 40, 60)]).held
    chosen = replace(held, scales={**held.scales, "credits": Scale((Threshold(Level("percent", 50)),))})
    up = [p.passing.upward for c in rejudge(chosen, "credits", MARCH, AT, None).crossings for p in c.passed]
    assert up == [True]
    assert rejudge(chosen, "credits", APRIL, AT, None).crossings == []


def test_whatever_tells_of_a_tenant_tells_its_numbers_but_for_its_end() -> None:
    tenant = {event for event in EVENTS.values() if issubclass(event, TenantEvent)} - {TenantDeleted}
    assert tenant == {event for event, told_by in TELLING.items() if len(told_by) == 2}
