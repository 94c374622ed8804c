from collections.abc import Sequence
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.usage.counters.rules import Change, State, count_left_out, fold, grant, percentage, review
from services.usage.counters.tally import NOTHING, Amount, Kind
from services.usage.entitlements.rules import Terms
from services.usage.thresholds.rules import DEFAULT, Crossings, Passed
from shared.kafka.records import Record
from tests.services.usage.histories import History, histories
from tests.services.usage.samples import (
    KINDS,
    PEOPLE,
    PROJECTS,
    START,
    TENANT,
    File,
    adjusted,
    deleted,
    granted,
    moved,
    replaced,
    stored,
    trace,
    trashed,
)


def in_parts(entries: Sequence[Record], cuts: Sequence[int]) -> tuple[State, dict[Kind, list[int]], list[Passed]]:
    """Folds batch by batch, as the consumer would."""
    state = State(TENANT)
    sums: dict[Kind, list[int]] = {}
    passed: list[Passed] = []
    edges = [0, *sorted(cut % (len(entries) + 1) for cut in cuts), len(entries)]
    for start, end in pairwise(edges):
        change = fold(state, entries[start:end])
        state = change.after
        passed += change.passed
        for kind, delta in change.deltas.items():
            held = sums.setdefault(kind, [0, 0])
            held[0] += delta.files
            held[1] += delta.bytes
    return state, sums, passed


@given(history=histories(), cuts=st.lists(st.integers(0, 80), max_size=8))
def test_any_split_gives_the_same_counters_and_alerts(history: History, cuts: list[int]) -> None:
    assert in_parts(history.entries, cuts) == in_parts(history.entries, [])


@given(history=histories(), start=st.integers(0, 40))
def test_a_repeat_changes_nothing(history: History, start: int) -> None:
    whole = fold(State(TENANT), history.entries)
    again = fold(whole.after, history.entries[start:])
    assert again == Change(whole.after, whole.after)


@given(history=histories(), cuts=st.lists(st.integers(0, 80), max_size=8), back=st.integers(0, 20))
def test_batches_delivered_again_from_before_give_the_same(history: History, cuts: list[int], back: int) -> None:
    state, passed, last = State(TENANT), list[Passed](), 0
    for cut in [*sorted(cuts), len(history.entries)]:
        change = fold(state, history.entries[max(0, last - back) : cut])
        state, passed, last = change.after, passed + change.passed, cut
    whole = fold(State(TENANT), history.entries)
    assert (state, passed) == (whole.after, whole.passed)


@given(history=histories())
def test_counters_equal_what_is_there(history: History) -> None:
    state, sums, _ = in_parts(history.entries, [])
    assert (state.bytes, state.files) == _sum(history.files)
    assert state.position == len(history.ledger)
    assert state.trashed == Amount(*_sum([file for file in history.files if file.trashed]))
    assert state.versions == Amount(*_sum([file for file in history.files if file.version]))
    for kind in KINDS:
        assert tuple(sums.get(kind, [0, 0])[::-1]) == _sum([file for file in history.files if file.kind == kind])


@given(history=histories(), cuts=st.lists(st.integers(0, 80), max_size=8))
def test_projects_hold_what_is_there(history: History, cuts: list[int]) -> None:
    held = dict.fromkeys(PROJECTS, NOTHING)
    state = State(TENANT)
    for start, end in pairwise([0, *sorted(cut % (len(history.entries) + 1) for cut in cuts), len(history.entries)]):
        change = fold(state, history.entries[max(0, start - 5) : end])  # some of them again
        state = change.after
        for (project, month), amount in change.projects.items():
            assert month == (2026, 3)
            held[project] = held[project].plus(amount.bytes, amount.files)
    for project in PROJECTS:
        assert held[project] == Amount(*_sum([file for file in history.files if file.project == project]))


@given(history=histories(), cuts=st.lists(st.integers(0, 80), max_size=8))
def test_people_hold_what_they_uploaded(history: History, cuts: list[int]) -> None:
    held, state = dict.fromkeys(PEOPLE, NOTHING), State(TENANT)
    for start, end in pairwise([0, *sorted(cut % (len(history.entries) + 1) for cut in cuts), len(history.entries)]):
        change = fold(state, history.entries[max(0, start - 5) : end])  # some of them again
        state = change.after
        for number, amount in change.users.items():
            held[UUID(int=number)] = held[UUID(int=number)].plus(*amount)
    for person in PEOPLE:
        assert held[person] == Amount(*_sum([file for file in history.files if file.by == person]))


@given(history=histories(), cuts=st.lists(st.integers(0, 80), max_size=8))
def test_trash_and_versions_of_every_kind_project_and_person_are_what_is_there(
    history: History, cuts: list[int]
) -> None:
    held: dict[object, list[int]] = {}
    state = State(TENANT)
    for start, end in pairwise([0, *sorted(cut % (len(history.entries) + 1) for cut in cuts), len(history.entries)]):
        change = fold(state, history.entries[max(0, start - 5) : end])  # some of them again
        state = change.after
        hidden = change.hidden
        for key, amounts in (*hidden.kinds.items(), *hidden.projects.items(), *hidden.users.items()):
            held[key] = [sum(pair) for pair in zip(held.get(key, [0] * 4), amounts, strict=True)]
    for key in (*KINDS, *PROJECTS, *PEOPLE):
        mine = [file for file in history.files if key in (file.kind, file.project, file.by)]
        trash, versions = [file for file in mine if file.trashed], [file for file in mine if file.version]
        assert held.pop(key, [0] * 4) == [*_sum(trash), *_sum(versions)]
    assert held == {}


def _sum(files: Sequence[File]) -> tuple[int, int]:
    return sum(file.size for file in files), len(files)


@given(history=histories())
def test_what_is_open_is_what_is_reached(history: History) -> None:
    change = fold(State(TENANT), history.entries)
    counts = dict.fromkeys((80, 95, 100), 0)
    for passed in change.passed:
        counts[passed.passing.level.value] += 1 if passed.passing.upward else -1
        assert counts[passed.passing.level.value] in {0, 1}, "crossed and cleared take turns"
    after = change.after
    assert {p for p, open_ in counts.items() if open_} == {
        t.level.value for t in DEFAULT.thresholds if DEFAULT.reached(t, after.bytes, after.terms.limit)
    }
    assert review(after, START).passed == [], "a sweep has nothing left to find"


@given(history=histories())
def test_each_arming_rings_once(history: History) -> None:
    passed = fold(State(TENANT), history.entries).passed
    rings = [(p.passing.level.value, p.passing.armed) for p in passed if p.passing.upward]
    assert len(rings) == len(set(rings))


@given(history=histories(), size=st.integers(1, 5))
def test_a_batch_speaks_once_and_of_what_stands(history: History, size: int) -> None:
    state = State(TENANT)
    for start in range(0, len(history.entries), size):
        change = fold(state, history.entries[start : start + size])
        state = change.after
        if change.passed:
            told = Crossings(TENANT, "storage", state.arms, change.passed)
            new = [p.passing for p in change.passed if p.passing.upward and state.arms[p.passing.level].reached]
            standing = [p for p in new if p.armed == state.arms[p.level].armed]
            assert told.speaker == (max(standing, key=lambda p: p.level.value) if standing else None)


def test_several_crossed_at_once_are_all_seen() -> None:
    change = fold(State(TENANT, terms=Terms(1, "free", 100)), [stored(1, 100)])
    assert [p.passing.level.value for p in change.passed] == [80, 95, 100]
    assert {p.traceparent for p in change.passed} == {trace(1)}


def test_up_and_down_within_one_batch_is_seen() -> None:
    change = fold(State(TENANT, terms=Terms(1, "free", 100)), [stored(1, 85), deleted(2, 85), stored(3, 85)])
    assert [(p.passing.level.value, p.passing.upward, p.passing.armed) for p in change.passed] == [
        (80, True, 1),
        (80, False, 1),
        (80, True, 2),
    ]
    assert [p.traceparent for p in change.passed] == [trace(1), trace(2), trace(3)]


def test_an_unknown_limit_is_judged_once_known() -> None:
    before = fold(State(TENANT), [stored(1, 90)])
    assert before.passed == []
    assert [p.passing.level.value for p in fold(before.after, [granted(1, 100)]).passed] == [80]


def test_an_older_version_never_replaces_a_newer() -> None:
    state = fold(State(TENANT), [granted(2, 1000), stored(1, 90), granted(1, 100)]).after
    assert state.terms.limit == 1000
    assert grant(state, Terms(1, "free", 100), START, None).after == state


def test_unlimited_clears_everything() -> None:
    state = fold(State(TENANT, terms=Terms(1, "free", 100)), [stored(1, 100)]).after
    change = fold(state, [granted(2, None)])
    assert [(p.passing.level.value, p.passing.upward) for p in change.passed] == [
        (100, False),
        (95, False),
        (80, False),
    ]


def test_a_replacement_that_shrinks_clears() -> None:
    change = fold(State(TENANT, terms=Terms(1, "free", 100)), [stored(1, 96), replaced(2, File(96), File(10))])
    assert [(p.passing.level.value, p.passing.upward) for p in change.passed] == [
        (80, True),
        (95, True),
        (95, False),
        (80, False),
    ]


def test_a_version_that_is_kept_rings_nothing_on_its_way() -> None:
    """Between a replacement and the version it leaves usage looks lower for one entry; it never was."""
    change = fold(
        State(TENANT, terms=Terms(1, "free", 100)),
        [stored(1, 85), replaced(2, File(85), File(5), kept=True), stored(3, 85, version=True)],
    )
    assert [(p.passing.level.value, p.passing.upward) for p in change.passed] == [(80, True)]
    assert change.after.versions == Amount(85, 1)


def test_a_version_that_comes_back_rings_nothing_on_its_way() -> None:
    """Between the exchange and the version's end usage looks higher for one entry; it never was."""
    before = [stored(1, 45), replaced(2, File(45), File(5), kept=True), stored(3, 45, version=True)]
    after = [replaced(4, File(5), File(45), reverted=True), deleted(5, 45, version=True)]
    change = fold(State(TENANT, terms=Terms(1, "free", 100)), [*before, *after])
    assert change.passed == []
    assert (change.after.bytes, change.after.versions) == (45, Amount(0, 0))


def test_an_adjustment_is_counted_and_belongs_to_no_file() -> None:
    before = fold(State(TENANT), [stored(1, 30), stored(2, 20, KINDS[1], project=PROJECTS[0])])
    change = fold(before.after, [adjusted(3, -10, 0), adjusted(4, 5, 2, KINDS[1]), adjusted(5, 0, 0, KINDS[2])])
    assert (change.after.bytes, change.after.files, change.after.position) == (45, 4, 5)
    assert {kind: (d.bytes, d.files) for kind, d in change.deltas.items()} == {KINDS[0]: (-10, 0), KINDS[1]: (5, 2)}
    assert change.projects == {}
    assert (change.after.trashed, change.after.versions) == (NOTHING, NOTHING)


def test_a_correction_rings_once_it_is_whole() -> None:
    state = fold(State(TENANT, terms=Terms(1, "free", 100)), [stored(1, 85)]).after
    moved_by_hand = [adjusted(2, 85, 1, KINDS[1], partial=True), adjusted(3, -85, -1)]
    assert fold(state, moved_by_hand).passed == []
    gone = [adjusted(2, 10, 1, KINDS[1], partial=True), adjusted(3, -85, -1)]
    assert [(p.passing.level.value, p.passing.upward) for p in fold(state, gone).passed] == [(80, False)]


def test_trash_and_moves_ring_nothing_and_change_no_total() -> None:
    state = fold(State(TENANT, terms=Terms(1, "free", 100)), [stored(1, 85)]).after
    change = fold(state, [moved(2, File(85), File(85, KINDS[2])), trashed(3, File(85, KINDS[2]))])
    assert change.passed == []
    assert (change.after.bytes, change.after.trashed) == (85, Amount(85, 1))


def test_percentage_never_rounds_up_to_a_threshold() -> None:
    petabyte = 2**50
    assert percentage(petabyte * 80 // 100 - 1, petabyte) == 79.99
    assert percentage(0, None) is None
    assert percentage(0, 0) == 100.0


@given(history=histories(), which=st.integers(0, 80))
def test_one_left_out_and_counted_later_gives_the_same_counters(history: History, which: int) -> None:
    entries = history.entries
    if not entries:
        return
    late = entries[which % len(entries)]
    short = fold(State(TENANT), [entry for entry in entries if entry is not late])
    change = count_left_out(short.after, late)
    whole = fold(State(TENANT), entries)
    same = ("position", "bytes", "files", "trashed", "versions", "terms")
    assert [getattr(change.after, name) for name in same] == [getattr(whole.after, name) for name in same]
    sums = {kind: (d.files, d.bytes) for kind, d in whole.deltas.items() if d.files or d.bytes}
    late_sums = {kind: (d.files, d.bytes) for kind, d in short.deltas.items()}
    for kind, d in change.deltas.items():
        files, size = late_sums.get(kind, (0, 0))
        late_sums[kind] = (files + d.files, size + d.bytes)
    assert {kind: held for kind, held in late_sums.items() if held != (0, 0)} == sums
    for threshold in DEFAULT.thresholds:
        arm = change.after.arms.get(threshold.level)
        stands = DEFAULT.reached(threshold, change.after.bytes, change.after.terms.limit)
        assert (arm is not None and arm.reached) == stands


def test_half_of_a_replacement_counted_late_is_judged() -> None:
    file, smaller = File(50), File(40)
    entries = [granted(1, 100), stored(1, 50), stored(3, 50, version=True)]
    state = fold(State(TENANT), entries).after
    change = count_left_out(state, replaced(2, file, smaller, kept=True))
    assert (change.after.bytes, change.after.position) == (90, 3)
    assert [(p.passing.level.value, p.passing.upward) for p in change.passed] == [(100, False), (95, False)]
