"""Records that can never succeed: kept whole with their error, told to `<topic>.<group>.dlq`, never in the way."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from shared.db import Database
from shared.ids import new_id
from shared.kafka.records import Record

log = logging.getLogger(__name__)

_INSERT = """
    INSERT INTO dead_letter
        (id, group_name, topic, partition, record_offset, tenant_id, seq, type, key, headers, value, error, left_out)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""


@dataclass(frozen=True, slots=True)
class Failed:
    """One record and why it cannot be applied.

    `left_out`: the consumer goes past its seq without its effect. Not so where the source's own copy is applied in its
    place, where the source never wrote it, and where it does not say what it is.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]
    error: str
    tenant_id: UUID | None = None
    seq: int | None = None
    type: str | None = None
    left_out: bool = False

    @classmethod
    def raw(cls, record: ConsumerRecord, error: Exception) -> Self:
        headers = {str(name): bytes(value or b"").decode("utf-8", "replace") for name, value in record.headers}
        return cls(record.topic, record.partition, record.offset, record.key, record.value, headers, text_of(error))

    @classmethod
    def of(cls, record: Record, error: Exception, *, left_out: bool = False) -> Self:
        headers = {name: value.decode("utf-8", "replace") for name, value in record.headers.items()}
        key = str(record.tenant_id).encode()
        return cls(
            record.topic,
            record.partition,
            record.offset,
            key,
            record.body,
            headers,
            text_of(error),
            record.tenant_id,
            record.seq,
            record.type,
            left_out,
        )


class DeadLetters:
    """The table is the truth; the topic is told afterwards, again if need be."""

    def __init__(self, database: Database, group: str, bootstrap: str) -> None:
        self._database = database
        self._group = group
        self._bootstrap = bootstrap
        self._producer: Any = None

    async def insert(self, connection: Any, failed: Sequence[Failed]) -> None:
        """In the transaction that moves past the records."""
        if failed:
            await connection.executemany(_INSERT, [self._row(letter) for letter in failed])

    def _row(self, letter: Failed) -> tuple[object, ...]:
        return (
            new_id(),
            self._group,
            letter.topic,
            letter.partition,
            letter.offset,
            letter.tenant_id,
            letter.seq,
            letter.type,
            letter.key,
            {name: value.replace("\x00", "\ufffd") for name, value in letter.headers.items()},
            letter.value,
            letter.error,
            letter.left_out,
        )

    async def publish_pending(self) -> None:
        """Best effort: what is not told now is told after the next failure or start."""
        try:
            async with asyncio.timeout(10):
                await self._publish()
        except (TimeoutError, OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("%s: dead letters wait in the table: %s", self._group, error)

    async def _publish(self) -> None:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                "SELECT * FROM dead_letter WHERE group_name = $1 AND published_at IS NULL ORDER BY id LIMIT 500",
                self._group,
            )
            if not rows:
                return
            if self._producer is None:
                self._producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True
                )
                await self._producer.start()
            for row in rows:
                headers = [(name, value.encode()) for name, value in row["headers"].items()]
                headers += [("dlq_error", row["error"].encode()), ("dlq_offset", b"%d" % row["record_offset"])]
                await self._producer.send_and_wait(
                    f"{row['topic']}.{self._group}.dlq", row["value"], key=row["key"], headers=headers
                )
                await connection.execute("UPDATE dead_letter SET published_at = now() WHERE id = $1", row["id"])

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()


def text_of(error: Exception) -> str:
    """As it is kept with the letter."""
    return f"{type(error).__name__}: {error}".replace("\x00", "\ufffd")[:2000]
