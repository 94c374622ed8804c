"""Which records of a batch are new, which are repeats, and where one is missing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any
from uuid import UUID

from shared.events import UnknownEventType, decode
from shared.kafka.dead_letters import Failed
from shared.kafka.records import Record, Topic

Key = tuple[str, UUID]


@dataclass(frozen=True, slots=True)
class Gap:
    """Records `after` < seq < `before` of one tenant were not seen, or one was seen and cannot be read (`broken`)."""

    topic: str
    tenant_id: UUID
    after: int
    before: int
    broken: Failed | None = None


@dataclass(slots=True)
class Selection:
    """What a batch comes to, given the last seqs stored."""

    records: list[Record] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    last: dict[Key, int] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def outcomes(self) -> Iterator[tuple[str, str, int]]:
        for (topic, outcome), number in self.counts.items():
            yield topic, outcome, number
        for topic, number in Counter(map(_topic, self.records)).items():
            yield topic, "applied", number

    async def store(self, connection: Any) -> None:
        """The new last seqs, in the same transaction as the effects."""
        if self.last:
            keys = sorted(self.last)
            await connection.execute(_STORE, [k[0] for k in keys], [k[1] for k in keys], [self.last[k] for k in keys])


_LAST = """
    SELECT topic, tenant_id, seq FROM consumer_position
    WHERE (topic, tenant_id) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))
"""

_POSITION = "SELECT seq FROM consumer_position WHERE topic = $1 AND tenant_id = $2"

_STORE = """
    INSERT INTO consumer_position AS p (topic, tenant_id, seq)
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[])
    ON CONFLICT (topic, tenant_id) DO UPDATE SET seq = greatest(p.seq, excluded.seq)
"""


async def last_seq(connection: Any, topic: str, tenant: UUID) -> int:
    """How far the consumer is in a tenant's stream; 0 where nothing came yet."""
    return int(await connection.fetchval(_POSITION, topic, tenant) or 0)


async def select(connection: Any, records: Sequence[Record], topics: Mapping[str, Topic]) -> Selection:
    """Reads the last seqs and judges the batch by them."""
    streams = by_stream(records)
    keys = sorted(streams)
    rows = await connection.fetch(_LAST, [k[0] for k in keys], [k[1] for k in keys])
    return judge(streams, {(row["topic"], row["tenant_id"]): row["seq"] for row in rows}, topics)


def by_stream(records: Iterable[Record]) -> dict[Key, list[Record]]:
    """Each tenant's records of each topic, as they came. What follows asks for a tenant once, not for each record."""
    streams: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in records:
        streams[record.topic, record.tenant_id.int].append(record)  # a UUID is hashed by Python
    return {(topic, found[0].tenant_id): found for (topic, _), found in streams.items()}


def judge(streams: Mapping[Key, Sequence[Record]], last: Mapping[Key, int], topics: Mapping[str, Topic]) -> Selection:
    """Pure: new records in order, decoded; repeats dropped; gaps named where a topic has none by right."""
    chosen = Selection()
    for key, records in streams.items():
        _judge_one(chosen, key, records, last.get(key, 0), topics[key[0]])
    return chosen


def _judge_one(chosen: Selection, key: Key, records: Sequence[Record], position: int, topic: Topic) -> None:
    begun, repeats = position, 0
    # In order but for repeats and what a gap's fetch appended at the end: sorting costs a look at each.
    for record in sorted(records, key=_seq):
        seq = record.seq
        if seq <= position:
            repeats += 1
            continue
        if seq > position + 1 and not topic.compacted:
            chosen.gaps.append(Gap(*key, position, seq))
        position = seq
        _decode(record, chosen, topic)
    chosen.counts[key[0], "repeat"] += repeats
    if position > begun:
        chosen.last[key] = position


_seq, _topic = attrgetter("seq"), attrgetter("topic")


def read_body(record: Record) -> None:
    """Raises UnknownEventType, or ValueError (pydantic's ValidationError is one)."""
    if record.event is None:
        record.event = decode(record.type, record.body)
        if record.event.tenant_id.int != record.tenant_id.int:
            record.event = None
            raise ValueError("the body speaks of another tenant than the key")


def _decode(record: Record, chosen: Selection, topic: Topic) -> None:
    try:
        read_body(record)
        chosen.records.append(record)
    except UnknownEventType:
        chosen.counts[record.topic, "unknown"] += 1
    except ValueError as error:
        if topic.compacted or record.partition < 0:
            chosen.failed.append(Failed.of(record, error, left_out=True))
        else:
            # The ledger knows what was meant.
            broken = Failed.of(record, error)
            chosen.gaps.append(Gap(record.topic, record.tenant_id, record.seq - 1, record.seq + 1, broken))
