from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.usage.counters.rules import Change, Passed, State, fold, grant, percentage, review
from services.usage.entitlements.rules import Terms
from services.usage.thresholds.rules import PERCENTS, reached
from shared.events import EntitlementsChanged, FileDeleted, FileStored, FileType
from shared.kafka.records import Record
from tests.services.usage.samples import KINDS, START, TENANT, deleted, granted, stored, trace


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """A ledger that only deletes what was stored, with changes of the limit in between."""
    entries: list[Record] = []
    held: list[tuple[int, tuple[FileType, str]]] = []
    version = 0
    for _ in range(draw(st.integers(0, 40))):
        what = draw(st.sampled_from(["store", "store", "delete", "limit"]))
        seq = 1 + sum(not isinstance(e.event, EntitlementsChanged) for e in entries)
        if what == "limit":
            version += 1
            entries.append(granted(version, draw(st.none() | st.integers(0, 120))))
        elif what == "delete" and held:
            entries.append(deleted(seq, *held.pop(draw(st.integers(0, len(held) - 1)))))
        else:
            file = (draw(st.integers(0, 70)), draw(st.sampled_from(KINDS)))
            held.append(file)
            entries.append(stored(seq, *file))
    return entries


def in_parts(
    entries: Sequence[Record], cuts: Sequence[int]
) -> tuple[State, dict[tuple[str, str], list[int]], list[Passed]]:
    """Folds batch by batch, as the consumer would."""
    state = State(TENANT)
    sums: dict[tuple[str, str], list[int]] = {}
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


@given(entries=histories(), cuts=st.lists(st.integers(0, 50), max_size=8))
def test_any_split_gives_the_same_counters_and_alerts(entries: list[Record], cuts: list[int]) -> None:
    assert in_parts(entries, cuts) == in_parts(entries, [])


@given(entries=histories(), start=st.integers(0, 40))
def test_a_repeat_changes_nothing(entries: list[Record], start: int) -> None:
    whole = fold(State(TENANT), entries)
    again = fold(whole.after, entries[start:])
    assert again == Change(whole.after, whole.after)


@given(entries=histories())
def test_counters_equal_what_is_there(entries: list[Record]) -> None:
    state, sums, _ = in_parts(entries, [])
    files = [e.event for e in entries if isinstance(e.event, FileStored | FileDeleted)]
    assert state.bytes == sum(f.size if isinstance(f, FileStored) else -f.size for f in files)
    assert state.position == len(files)
    assert (state.files, state.bytes) == (sum(s[0] for s in sums.values()), sum(s[1] for s in sums.values()))
    assert all(files >= 0 and size >= 0 for files, size in sums.values())


@given(entries=histories())
def test_what_is_open_is_what_is_reached(entries: list[Record]) -> None:
    change = fold(State(TENANT), entries)
    counts = dict.fromkeys(PERCENTS, 0)
    for passed in change.passed:
        counts[passed.passing.percent] += 1 if passed.passing.upward else -1
        assert counts[passed.passing.percent] in {0, 1}, "crossed and cleared take turns"
    after = change.after
    assert {p for p, open_ in counts.items() if open_} == {
        p for p in PERCENTS if reached(p, after.bytes, after.terms.limit)
    }
    assert review(after, START).passed == [], "a sweep has nothing left to find"


@given(entries=histories())
def test_each_arming_rings_once(entries: list[Record]) -> None:
    rings = [(p.passing.percent, p.passing.armed) for p in fold(State(TENANT), entries).passed if p.passing.upward]
    assert len(rings) == len(set(rings))


@given(entries=histories())
def test_one_change_speaks_once(entries: list[Record]) -> None:
    state = State(TENANT)
    for entry in entries:
        change = fold(state, [entry])
        state = change.after
        up = [p.passing for p in change.passed if p.passing.upward]
        assert [p.speaks for p in up] == [False] * (len(up) - 1) + [True] * bool(up)


def test_several_crossed_at_once_are_all_seen_and_the_highest_speaks() -> None:
    change = fold(State(TENANT, terms=Terms(1, "free", 100)), [stored(1, 100)])
    assert [(p.passing.percent, p.passing.speaks) for p in change.passed] == [(80, False), (95, False), (100, True)]
    assert {p.traceparent for p in change.passed} == {trace(1)}


def test_up_and_down_within_one_batch_is_seen() -> None:
    change = fold(State(TENANT, terms=Terms(1, "free", 100)), [stored(1, 85), deleted(2, 85), stored(3, 85)])
    assert [(p.passing.percent, p.passing.upward, p.passing.armed) for p in change.passed] == [
        (80, True, 1),
        (80, False, 1),
        (80, True, 2),
    ]
    assert [p.traceparent for p in change.passed] == [trace(1), trace(2), trace(3)]


def test_an_unknown_limit_is_judged_once_known() -> None:
    before = fold(State(TENANT), [stored(1, 90)])
    assert before.passed == []
    assert [p.passing.percent for p in fold(before.after, [granted(1, 100)]).passed] == [80]


def test_an_older_version_never_replaces_a_newer() -> None:
    state = fold(State(TENANT), [granted(2, 1000), stored(1, 90), granted(1, 100)]).after
    assert state.terms.limit == 1000
    assert grant(state, Terms(1, "free", 100), START, None).after == state


def test_unlimited_clears_everything() -> None:
    state = fold(State(TENANT, terms=Terms(1, "free", 100)), [stored(1, 100)]).after
    change = fold(state, [granted(2, None)])
    assert [(p.passing.percent, p.passing.upward) for p in change.passed] == [(100, False), (95, False), (80, False)]


def test_percentage_never_rounds_up_to_a_threshold() -> None:
    petabyte = 2**50
    assert percentage(petabyte * 80 // 100 - 1, petabyte) == 79.99
    assert percentage(0, None) is None
    assert percentage(0, 0) == 100.0
