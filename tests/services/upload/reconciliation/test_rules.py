"""What would put the books right, on sums made up at random."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.upload.reconciliation.rules import (
    NOTHING,
    Amount,
    Difference,
    Kind,
    Look,
    Objects,
    adjustments,
    compare,
    doubtful,
    gap_of,
    listed,
    minus,
    plus,
    total,
    unlisted,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ONE, TWO = ("document", "documents"), ("image", "properties")
KINDS: st.SearchStrategy[Kind] = st.sampled_from([ONE, TWO, ("other", "")])
AMOUNTS = st.builds(Amount, st.integers(0, 100), st.integers(0, 5))
SUMS = st.dictionaries(KINDS, AMOUNTS).map(lambda sums: plus(sums, {}))
LOOKS = st.builds(Look, st.just(7), SUMS, SUMS, AMOUNTS)


def apart(look: Look, objects: Objects | None = None) -> list[tuple[str, str, Kind | None, int, int]]:
    return [(d.side, d.wrong, d.kind, d.amount.bytes, d.amount.files) for d in compare(look, objects)]


@given(LOOKS, st.sets(KINDS))
def test_adjusted_it_agrees_but_for_what_is_doubted(look: Look, doubted: set[Kind]) -> None:
    events, account = adjustments(UUID(int=1), UUID(int=2), NOW, look, doubted)
    ledger = dict(look.ledger)
    for event in events:
        delta: dict[Kind, Amount] = {(event.file_type, event.category): Amount(event.delta_bytes, event.delta_files)}
        ledger = plus(ledger, delta)
        assert total(ledger).bytes >= 0
    for kind in ledger.keys() | look.files.keys():
        right = look.ledger if kind in doubted else look.files
        assert ledger.get(kind, NOTHING) == right.get(kind, NOTHING)
    assert total(ledger) == account
    assert [event.partial for event in events] == [True] * (len(events) - 1) + [False] * bool(events)
    if not doubted:
        assert not gap_of(Look(8, ledger, look.files, account))
        assert bool(events) == bool(gap_of(look))


@given(SUMS, SUMS)
def test_sums_add_up_and_are_written_down_as_they_are(first: dict[Kind, Amount], second: dict[Kind, Amount]) -> None:
    assert plus(minus(first, second), second) == first
    assert unlisted(listed(first)) == first


@given(SUMS)
def test_what_agrees_has_no_difference(sums: dict[Kind, Amount]) -> None:
    look = Look(3, sums, sums, total(sums), reserved=4, held=4)
    assert compare(look, None) == compare(look, Objects(sums)) == []
    assert not gap_of(look)


def test_the_side_that_stands_alone_is_wrong() -> None:
    ten, twelve = {ONE: Amount(10, 1)}, {ONE: Amount(12, 1)}
    account = Look(1, ten, ten, Amount(12, 1))
    assert apart(account, Objects(ten)) == [("account", "account", None, 2, 0)]
    ledger = Look(1, twelve, ten, Amount(10, 1))
    assert apart(ledger, Objects(ten)) == [("ledger", "ledger", ONE, 2, 0)]
    row = Look(1, ten, twelve, Amount(10, 1))
    assert apart(row, Objects(ten)) == [
        ("ledger", "files", ONE, -2, 0),
        ("account", "files", None, -2, 0),
        ("objects", "files", ONE, -2, 0),
    ]
    assert doubtful(row, Objects(ten)) == {ONE}
    truncated = Look(1, twelve, twelve, Amount(12, 1))
    assert apart(truncated, Objects(ten)) == [("objects", "objects", ONE, -2, 0)]
    held = Look(1, ten, ten, Amount(10, 1), reserved=5, held=3)
    assert compare(held, None) == [Difference("reserved", "account", Amount(2))]


def test_an_object_whose_row_is_gone_speaks_for_the_ledger() -> None:
    both = {ONE: Amount(10, 1), TWO: Amount(3, 1)}
    look = Look(1, both, {TWO: Amount(3, 1)}, Amount(13, 2))
    lost = Objects({TWO: Amount(3, 1)}, orphans=10, lost={ONE: Amount(10, 1)})
    assert apart(look, lost)[0] == ("ledger", "files", ONE, 10, 1)
    assert doubtful(look, lost) == {ONE}
    assert adjustments(UUID(int=1), UUID(int=2), NOW, look, {ONE}) == ([], Amount(13, 2))


def test_a_type_no_event_can_name_is_left_alone() -> None:
    odd = Look(1, {}, {("scroll", "documents"): Amount(1, 1)}, NOTHING)
    assert doubtful(odd, Objects(odd.files)) == {("scroll", "documents")}
