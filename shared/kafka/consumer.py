"""Exactly-once effects over an at-least-once wire.

One batch is one database transaction: effects, last seq per tenant and next offset commit together. A repeat is
skipped by its seq for ever; a gap is fetched from its source before anything after it is applied; a consumer that
was replaced without noticing finds its offset moved and changes nothing.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import asyncpg
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER
from prometheus_client import Counter, Histogram

from shared import faults
from shared.db import Database, savepoint
from shared.errors import UpstreamError
from shared.kafka import offsets
from shared.kafka.cluster import cluster_id
from shared.kafka.dead_letters import DeadLetters, Failed
from shared.kafka.gaps import Batch, GapFetcher, heal
from shared.kafka.records import MalformedRecord, Record, Topic, read
from shared.kafka.sequence import Gap, Selection, select
from shared.kafka.tracing import traced

log = logging.getLogger(__name__)

RECORDS = Counter("stowage_consumer_records_total", "Records by what became of them", ["group", "topic", "outcome"])
BATCH = Histogram("stowage_consumer_batch_seconds", "One batch, from bytes to commit", ["group"])

Apply = Callable[[Any, Sequence[Record]], Awaitable[None]]

# They pass by themselves: the batch is tried again, and nothing else is read meanwhile (back-pressure).
TRANSIENT = (
    OSError,
    TimeoutError,
    KafkaError,
    UpstreamError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
)

# When more than half of the last this many records fail, it is not the records that are wrong.
WINDOW = 20


class TooManyFailures(RuntimeError):
    """Most of a window failed: the consumer stops instead of dead-lettering everything."""


class EventConsumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is untyped
    """One group's subscription. `apply(connection, records)` sees new records only, each tenant's in order of seq."""

    def __init__(
        self,
        *,
        group: str,
        topics: Mapping[str, Topic],
        database: Database,
        bootstrap: str,
        apply: Apply,
        fetch: GapFetcher | None = None,
        on_committed: Callable[[Sequence[Record]], object] | None = None,
        max_records: int = 10_000,
    ) -> None:
        self.group = group
        self._topics = topics
        self._database = database
        self._bootstrap = bootstrap
        self._apply = apply
        self._fetch = fetch
        self._on_committed = on_committed
        self._max_records = max_records
        self._dead = DeadLetters(database, group, bootstrap)
        self._cluster = ""
        self._expected: dict[TopicPartition, int] = {}
        self._doubted: dict[TopicPartition, int] = {}
        self._consumer: Any = None
        self._stopped: asyncio.Future[None] | None = None
        self._window: deque[tuple[int, int]] = deque()  # (records, failed) a batch
        self.running = False

    async def run(self) -> None:
        """Consumes until cancelled; raises TooManyFailures when most records cannot be applied."""
        self._cluster = await self._find_cluster()
        broker = KafkaBroker(
            self._bootstrap,
            client_id=f"stowage-{self.group}",
            logger=log,
            log_level=logging.DEBUG,
            allow_auto_create_topics=False,
            graceful_timeout=2,  # seconds for a batch under way; one that is cut off is rolled back and comes again
        )
        embedded = self._cluster.startswith("mockCluster")
        subscriber = broker.subscriber(
            *self._topics,
            batch=True,
            group_id=self.group,
            auto_offset_reset="earliest",
            # Offsets live in the database beside the effects; nothing is acknowledged to Kafka.
            ack_policy=AckPolicy.MANUAL,
            listener=self,
            parser=_keep_raw,
            decoder=_keep_body,
            max_records=self._max_records,
            # FastStream sleeps as long again after an empty poll, so this bounds the latency of a quiet topic.
            batch_timeout_ms=20,
            # librdkafka's cluster does not wake a waiting fetch, Kafka does.
            fetch_max_wait_ms=20 if embedded else 500,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            # And at every change of the group it waits for nearly a session, whoever is there.
            session_timeout_ms=4_000 if embedded else 10_000,
            heartbeat_interval_ms=1_000 if embedded else 2_000,
            no_reply=True,
        )
        subscriber(self._on_message)
        self._subscriber = subscriber
        self._stopped = asyncio.get_running_loop().create_future()
        try:
            await self._dead.publish_pending()
            await broker.start()
            self.running = True
            await self._stopped
        finally:
            self.running = False
            await broker.stop()
            await self._dead.stop()

    async def check(self) -> None:
        """Raises unless partitions are being consumed (readiness)."""
        if not self.running:
            raise RuntimeError("not consuming")

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Continues where the database says, not where Kafka remembers."""
        self._consumer = self._subscriber.consumer
        self._expected = {}
        while assigned:
            try:
                stored = await offsets.load(self._database, self.group, self._cluster, assigned)
                break
            except TRANSIENT as error:
                log.warning("%s: stored offsets cannot be read yet: %s", self.group, error)
                await asyncio.sleep(0.5)
        else:
            return
        for partition, offset in stored.items():
            self._consumer.seek(partition, offset)
        self._expected = stored

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        for partition in revoked:
            self._expected.pop(partition, None)

    async def _on_message(self, message: KafkaMessage) -> None:
        try:
            await self._consume(message.raw_message)
        except Exception as error:  # noqa: BLE001 - FastStream would log it and skip the batch
            log.error("%s stops: %s: %s", self.group, type(error).__name__, error)
            if self._stopped is not None and not self._stopped.done():
                self._stopped.set_exception(error)
            await asyncio.Event().wait()  # nothing more is read; run() ends the process

    async def _consume(self, raw: Sequence[ConsumerRecord]) -> None:
        delay = 0.05
        while True:
            try:
                await self._process(raw)
                return
            except offsets.StaleOffset as error:
                log.warning("%s: %s; continuing from the stored offset", self.group, error)
                await self._rewind()
                return
            except TRANSIENT as error:
                log.warning(
                    "%s: a batch of %d waits %.2f s: %s: %s", self.group, len(raw), delay, type(error).__name__, error
                )
                await asyncio.sleep(delay)
                delay = min(delay * 2, 3.0)

    async def _process(self, raw: Sequence[ConsumerRecord]) -> None:
        spans = offsets.spans(raw)
        moves, skips = offsets.moves(spans, self._expected), offsets.skips(spans, self._expected)
        if any(self._doubted.get(partition) != offset for partition, offset in skips.items()):
            self._doubted.update(skips)  # seen again after reading from there once more, the hole is real
            raise offsets.StaleOffset(f"records are missing before {sorted(skips)}")
        batch = _read(raw)
        with BATCH.labels(self.group).time():
            while gaps := await self._attempt(moves, batch):
                batch = await heal(batch, gaps, self._fetch)
        for partition, (_, after) in moves.items():
            if partition in self._expected:
                self._expected[partition] = after

    async def _attempt(self, moves: offsets.Moves, batch: Batch, *, singly: bool = False) -> list[Gap]:
        """One transaction. Returns the gaps to fetch instead of committing when there are any."""
        try:
            async with self._database.transaction() as connection:
                await offsets.move(connection, self.group, self._cluster, moves)
                chosen = await select(connection, batch.records, self._topics)
                if chosen.gaps:
                    raise _GapsFound(chosen.gaps)
                bad = batch.failed + chosen.failed + await self._apply_all(connection, chosen, singly=singly)
                self._judge(batch, bad)
                faults.reach(f"{self.group}.batch")
                await chosen.store(connection)
                await self._dead.insert(connection, bad)
        except _GapsFound as found:
            return found.gaps
        except _BatchFailed:
            return await self._attempt(moves, batch, singly=True)
        self._count(chosen, bad)
        if bad:
            await self._dead.publish_pending()
        if self._on_committed is not None and chosen.records:
            self._on_committed(chosen.records)
        return []

    async def _apply_all(self, connection: Any, chosen: Selection, *, singly: bool) -> list[Failed]:
        """Applies the batch whole or, once that has failed, record by record to find the ones that never can be."""
        if not chosen.records:
            return []
        with traced(self.group, chosen.records):
            if singly:
                return [failed for record in chosen.records if (failed := await self._apply_one(connection, record))]
            try:
                await self._apply(connection, chosen.records)
            except TRANSIENT:
                raise
            except Exception as error:
                log.exception("%s: a batch of %d failed, trying one by one", self.group, len(chosen.records))
                raise _BatchFailed from error
            return []

    async def _apply_one(self, connection: Any, record: Record) -> Failed | None:
        try:
            async with savepoint(connection):
                await self._apply(connection, [record])
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes with the record
            return Failed.of(record, error, left_out=True)
        return None

    def _judge(self, batch: Batch, bad: Sequence[Failed]) -> None:
        self._window.append((len(batch.records) + len(batch.failed), len(bad)))
        while len(self._window) > 1 and sum(seen for seen, _ in self._window) - self._window[0][0] >= WINDOW:
            self._window.popleft()
        seen, failed = (sum(counts) for counts in zip(*self._window, strict=True))
        if seen >= WINDOW and failed * 2 > seen:
            raise TooManyFailures(f"{failed} of the last {seen} records failed, the newest with {bad[-1].error}")

    def _count(self, chosen: Selection, bad: Sequence[Failed]) -> None:
        for topic, outcome, number in chosen.outcomes():
            RECORDS.labels(self.group, topic, outcome).inc(number)
        for failure in bad:
            RECORDS.labels(self.group, failure.topic, "dead").inc()
            log.error(
                "%s: dead letter %s[%d]@%d: %s",
                self.group,
                failure.topic,
                failure.partition,
                failure.offset,
                failure.error,
            )

    async def _rewind(self) -> None:
        assigned = list(self._expected)
        if assigned:
            await self.on_partitions_assigned(assigned)

    async def _find_cluster(self) -> str:
        delay = 0.2
        while True:
            try:
                return await cluster_id(self._bootstrap)
            except (KafkaError, OSError) as error:
                log.warning("%s: no broker at %s yet: %s", self.group, self._bootstrap, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 3.0)


class _BatchFailed(Exception):
    """Ends a transaction whose records are to be tried one by one."""


class _GapsFound(Exception):
    def __init__(self, gaps: list[Gap]) -> None:
        super().__init__(len(gaps))
        self.gaps = gaps


def _read(raw: Sequence[ConsumerRecord]) -> Batch:
    batch = Batch()
    for item in raw:
        try:
            batch.records.append(read(item.topic, item.partition, item.offset, item.key, item.value, item.headers))
        except MalformedRecord as error:
            batch.failed.append(Failed.raw(item, error))
    return batch


async def _keep_raw(message: Any) -> KafkaMessage:
    """FastStream's own parser decodes every header of a batch, and one bad byte would fail them all."""
    return KafkaMessage(raw_message=message, body=b"", consumer=FAKE_CONSUMER, message_id=str(message[0].offset))


async def _keep_body(message: KafkaMessage) -> Any:
    return message.body
