"""Publishing what was committed: batched, each tenant in order, at least once.

One relay a stream is active at a time (an advisory lock held by a connection); others stand by. A relay that died
after sending and before marking sends again, and consumers skip by seq: nothing here needs to be exactly once.
"""

import asyncio
import contextlib
import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge

from shared.db import Database
from shared.kafka.publisher import Publisher
from shared.outbox.stream import Stream
from shared.outbox.wake import Listener

log = logging.getLogger(__name__)

PUBLISHED = Counter("stowage_relay_published_total", "Events published to Kafka", ["topic"])
FAILURES = Counter("stowage_relay_failures_total", "Times the relay had to start over", ["topic"])
LEADING = Gauge("stowage_relay_leading", "1 while this process publishes the topic", ["topic"])

TENANTS = 500  # looked at together
ROUND = 0.02  # seconds from one round to the next: each costs three round trips however little it carries
RECORDS = 8_000  # read, sent and marked together: about 6 MB of files.v1

_MARK = """
    INSERT INTO outbox_cursor AS c (topic, tenant_id, published_seq)
    SELECT $1, t.tenant_id, t.seq FROM unnest($2::uuid[], $3::bigint[]) AS t(tenant_id, seq)
    ON CONFLICT (topic, tenant_id) DO UPDATE SET published_seq = greatest(c.published_seq, excluded.published_seq)
"""


class Relay:
    """Publishes the streams of one service to one cluster until cancelled."""

    def __init__(
        self,
        database: Database,
        streams: Sequence[Stream],
        *,
        bootstrap: str,
        source: str,
        channel: str = "outbox",
        poll: float = 0.5,
        after_send: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._database = database
        self._streams = streams
        self._bootstrap = bootstrap
        self._source = source
        self._channel = channel
        self._poll = poll
        self._after_send = after_send  # a crash test's place to die: sent, not marked

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for stream in self._streams:
                group.create_task(self._run(stream), name=f"relay {stream.topic}")

    async def _run(self, stream: Stream) -> None:
        delay = 0.2
        while True:
            try:
                await self._lead(stream)
            except (OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                FAILURES.labels(stream.topic).inc()
                log.warning("relay of %s starts over in %.1f s: %s", stream.topic, delay, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
            else:
                delay = 0.2

    async def _lead(self, stream: Stream) -> None:
        lock = await asyncpg.connect(self._database.dsn, timeout=5)
        try:
            key = zlib.crc32(f"relay {stream.topic}".encode())
            while not await lock.fetchval("SELECT pg_try_advisory_lock($1)", key):  # noqa: ASYNC110 - the lock is another process's
                await asyncio.sleep(1)
            LEADING.labels(stream.topic).set(1)
            async with (
                Publisher(self._bootstrap, source=self._source) as publisher,
                Listener(self._database.dsn, self._channel) as listener,
            ):
                await self._know_cluster(stream, await publisher.cluster_id())
                while not lock.is_closed():
                    begun = time.monotonic()
                    if await self._publish(stream, publisher):
                        # The first event after a pause goes at once; under load many share a round.
                        await asyncio.sleep(max(0, begun + ROUND - time.monotonic()))
                    else:
                        await listener.wait(self._poll)
        finally:
            LEADING.labels(stream.topic).set(0)
            with contextlib.suppress(Exception):
                lock.terminate()

    async def _know_cluster(self, stream: Stream, cluster: str) -> None:
        """A cluster never seen before holds nothing of ours: everything is published again from the ledger."""
        async with self._database.transaction() as connection:
            known = await connection.fetchval("SELECT cluster_id FROM outbox_cluster WHERE topic = $1", stream.topic)
            if known == cluster:
                return
            if known is not None:
                log.warning("%s: new Kafka cluster %s, publishing from the start", stream.topic, cluster)
            await connection.execute("DELETE FROM outbox_cursor WHERE topic = $1", stream.topic)
            await connection.execute(
                "INSERT INTO outbox_cluster VALUES ($1, $2) ON CONFLICT (topic) DO UPDATE SET cluster_id = $2",
                stream.topic,
                cluster,
            )

    async def _publish(self, stream: Stream, publisher: Publisher) -> int:
        """Sends one batch and notes it; returns how many records it held."""
        rows = await self._read(stream)
        if not rows:
            return 0
        await publisher.publish(stream.topic, rows)
        if self._after_send is not None:
            await self._after_send()
        last = {row["tenant_id"]: row["seq"] for row in rows}
        async with self._database.transaction() as connection:
            # A mark lost in a crash is a repeat, and repeats are skipped: no need to wait for the disk.
            await connection.execute("SET LOCAL synchronous_commit = off")
            await connection.execute(_MARK, stream.topic, list(last), list(last.values()))
        PUBLISHED.labels(stream.topic).inc(len(rows))
        return len(rows)

    async def _read(self, stream: Stream) -> list[Any]:
        async with self._database.acquire() as connection:
            behind = await connection.fetch(stream.behind_sql(), TENANTS)
            if not behind:
                return []
            return list(
                await connection.fetch(
                    stream.fetch_sql(),
                    [row["tenant_id"] for row in behind],
                    [row["published"] for row in behind],
                    max(1, RECORDS // len(behind)),
                )
            )
