"""Offsets stored beside the effects, compared and swapped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

from shared.db import Database

# partition → (offset this consumer believes is next, offset after the batch)
Moves = dict[TopicPartition, tuple[int, int]]

_LOAD = """
    SELECT topic, partition, next_offset FROM consumer_offset
    WHERE group_name = $1 AND cluster_id = $2 AND (topic, partition) IN (SELECT * FROM unnest($3::text[], $4::int[]))
"""

_CREATE = """
    INSERT INTO consumer_offset SELECT $1, $2, t.topic, t.partition, 0
    FROM unnest($3::text[], $4::int[]) AS t(topic, partition)
    ON CONFLICT DO NOTHING
"""

# Sorted, so that two consumers that share partitions for a moment lock them in the same order.
_MOVE = """
    UPDATE consumer_offset AS o SET next_offset = t.after
    FROM (SELECT * FROM unnest($3::text[], $4::int[], $5::bigint[], $6::bigint[]) AS u(topic, partition, before, after)
          ORDER BY topic, partition) AS t
    WHERE o.group_name = $1 AND o.cluster_id = $2 AND o.topic = t.topic AND o.partition = t.partition
      AND o.next_offset = t.before
    RETURNING o.topic
"""


class StaleOffset(RuntimeError):
    """Another consumer has gone on from here: this one changes nothing."""


async def load(
    database: Database, group: str, cluster: str, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """The next offset of each partition; 0 where nothing was consumed yet."""
    names, numbers = [p.topic for p in partitions], [p.partition for p in partitions]
    async with database.transaction() as connection:
        await connection.execute(_CREATE, group, cluster, names, numbers)
        rows = await connection.fetch(_LOAD, group, cluster, names, numbers)
    return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


@dataclass(frozen=True, slots=True)
class Span:
    """What a batch holds of one partition: its first and its last offset."""

    first: int
    last: int


def spans(records: Iterable[ConsumerRecord]) -> dict[TopicPartition, Span]:
    """One look at each record of a batch, in which those of a partition come in few stretches."""
    found: dict[TopicPartition, Span] = {}
    for key, stretch in groupby(records, _partition):
        together = list(stretch)
        partition, last = TopicPartition(*key), together[-1].offset
        first = found[partition].first if partition in found else together[0].offset
        found[partition] = Span(first, last)
    return found


_partition = attrgetter("topic", "partition")


def moves(found: Mapping[TopicPartition, Span], expected: Mapping[TopicPartition, int]) -> Moves:
    """Raises StaleOffset for a partition that is no longer this consumer's."""
    for partition in found:
        if partition not in expected:
            raise StaleOffset(f"{partition.topic}[{partition.partition}] is not assigned, or not yet")
    return {
        partition: (expected[partition], max(expected[partition], span.last + 1)) for partition, span in found.items()
    }


def skips(found: Mapping[TopicPartition, Span], expected: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """Partitions whose first record lies beyond the stored offset, with that offset.

    aiokafka fetches before the assignment's listener has sought back, so a batch can be in hand that skips records.
    A compacted topic has such holes by right.
    """
    return {partition: expected[partition] for partition, span in found.items() if span.first > expected[partition]}


async def move(connection: Any, group: str, cluster: str, moves: Moves) -> None:
    """Locks and moves the offsets, first thing in the transaction; raises StaleOffset when one has moved already."""
    partitions = sorted(moves)
    moved = await connection.fetch(
        _MOVE,
        group,
        cluster,
        [p.topic for p in partitions],
        [p.partition for p in partitions],
        [moves[p][0] for p in partitions],
        [moves[p][1] for p in partitions],
    )
    if len(moved) != len(partitions):
        raise StaleOffset(f"{len(partitions) - len(moved)} of {len(partitions)} partitions have moved on")
