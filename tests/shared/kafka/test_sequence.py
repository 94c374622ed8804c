"""Any mixture of repeats, disorder and loss comes to each event once, in order, or to a named gap."""

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from shared.kafka.records import MalformedRecord, Record, Topic, read
from shared.kafka.sequence import Key, Selection, by_stream, judge
from tests.shared.kafka.samples import record, wire

TOPICS = {"files.v1": Topic(), "entitlements.v1": Topic(compacted=True)}
ONE, TWO = UUID(int=1), UUID(int=2)


def judge_all(records: list[Record], last: dict[Key, int]) -> Selection:
    return judge(by_stream(records), last, TOPICS)


def seqs(records: list[Record], tenant: UUID) -> list[int]:
    return [r.seq for r in records if r.tenant_id == tenant]


@given(
    last=st.integers(0, 5),
    arrivals=st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.integers(1, 12)), max_size=40),
)
def test_applied_is_new_in_order_and_once(last: int, arrivals: list[tuple[UUID, int]]) -> None:
    chosen = judge_all([record(t, s) for t, s in arrivals], {("files.v1", ONE): last})
    for tenant, before in ((ONE, last), (TWO, 0)):
        applied = seqs(chosen.records, tenant)
        assert applied == sorted({s for t, s in arrivals if t == tenant and s > before})
        missing = {s for g in chosen.gaps if g.tenant_id == tenant for s in range(g.after + 1, g.before)}
        assert missing == set(range(before + 1, max(applied, default=0))) - set(applied)


@given(st.permutations(list(range(1, 10))))
def test_the_order_of_arrival_does_not_matter(order: list[int]) -> None:
    chosen = judge_all([record(ONE, s) for s in order], {})
    assert seqs(chosen.records, ONE) == list(range(1, 10))
    assert not chosen.gaps


def test_a_compacted_topic_has_holes_by_right() -> None:
    chosen = judge_all([record(ONE, 7, kind="entitlements.changed")], {("entitlements.v1", ONE): 2})
    assert not chosen.gaps
    assert seqs(chosen.records, ONE) == [7]


def test_an_unknown_type_is_passed_over_and_its_seq_counts() -> None:
    odd = record(ONE, 1)
    odd.type = "file.invented"
    chosen = judge_all([odd, record(ONE, 2)], {})
    assert seqs(chosen.records, ONE) == [2]
    assert not chosen.gaps
    assert chosen.counts["files.v1", "unknown"] == 1


def test_a_body_nobody_can_read_is_asked_for_again() -> None:
    bad = record(ONE, 1)
    bad.body = b"{"
    chosen = judge_all([bad, record(ONE, 2)], {})
    assert [(g.after, g.before) for g in chosen.gaps] == [(0, 2)]
    assert chosen.gaps[0].broken is not None


def test_a_body_of_another_tenant_is_not_believed() -> None:
    bad = record(ONE, 1)
    bad.body = record(TWO, 1).body
    assert judge_all([bad], {}).gaps[0].broken is not None


@given(
    st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=12)), max_size=6), st.binary(max_size=40) | st.none()
)
def test_headers_that_say_nothing_are_malformed_not_fatal(headers: list[tuple[str, bytes]], key: bytes | None) -> None:
    try:
        read("files.v1", 0, 0, key, b"", headers)
    except MalformedRecord:
        return
    raise AssertionError("read something from nothing")


def test_what_the_relay_writes_is_read_back() -> None:
    tenant = uuid4()
    sample = record(tenant, 3)
    found = read("files.v1", 1, 9, str(tenant).encode(), sample.body, wire(sample))
    assert (found.tenant_id, found.seq, found.type, found.offset) == (tenant, 3, "file.stored", 9)
    assert found.id == sample.id
