"""Kafka → counters: 200,000 records, every tenth delivered twice, exactly once in effect."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Field, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

from benchmarks import samples, servers
from benchmarks.report import Row
from services.usage.counters.handlers import UsageHandler
from services.usage.counters.service import CounterService
from services.usage.dispatch import Dispatch
from services.usage.management.handlers import CleanupHandler
from services.usage.thresholds.service import ThresholdService
from services.usage.worker import TOPICS
from shared.clock import SystemClock
from shared.db import Database
from shared.kafka import EventConsumer
from shared.kafka.publisher import Publisher
from tests.fixtures.postgres import PostgresServer, ServiceDatabase

TENANTS, EACH = 50, 3_600
RECORDS = 200_000
ROUNDS = 3
TEXTBOOK = 1_000  # records; a whole run would take ten minutes
_KNOWN = """
    INSERT INTO tenant_usage (tenant_id, limit_bytes, plan, entitlements_version, updated_at, last_reset)
    VALUES ($1, $2, 'pro', 1, $3, $3)
"""


class SeenEvent(SQLModel, table=True):
    id: str = Field(primary_key=True)


class UsageCounter(SQLModel, table=True):
    tenant_id: UUID = Field(primary_key=True)
    bytes: int = 0
    files: int = 0


async def run(pg: PostgresServer) -> list[Row]:
    tenants = [uuid4() for _ in range(TENANTS)]
    rows = samples.outbox_rows(tenants, EACH)
    twice = [again for n, row in enumerate(rows) for again in ((row, row) if n % 9 == 0 else (row,))]
    assert len(twice) == RECORDS
    # As every worker of ours does it, and here for all three.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    async with servers.broker() as address:
        async with Publisher(address, source="/stowage/bench") as publisher:
            for start in range(0, RECORDS, 8_000):
                await publisher.publish("files.v1", twice[start : start + 8_000])
        raw = ours = 0.0
        for _ in range(ROUNDS):  # the best of each: what disturbs one round is not what is measured
            raw = max(raw, await _raw(address, pg.empty()))
            ours = max(ours, await _ours(address, pg.create("usage"), tenants))
        textbook = await _textbook(address, pg.empty())
    first, second = ours / raw, ours / textbook
    return [
        Row(
            "usage consumer, Kafka → counters",
            "records/s",
            ours,
            textbook,
            raw,
            f"{first:.2f} × raw, {second:.0f} × textbook",
            "≥ 0.5 × raw and ≥ 50 × textbook",
            first >= 0.5 and second >= 50,
        )
    ]


async def _ours(address: str, created: ServiceDatabase, tenants: list[UUID]) -> float:
    expected, clock = TENANTS * EACH, SystemClock()
    watcher: Any = await asyncpg.connect(created.superuser)
    now = datetime.now(UTC)
    await watcher.executemany(_KNOWN, [(tenant, 10 * samples.SIZE * EACH, now) for tenant in tenants])
    async with Database(created.worker) as database:
        counters = CounterService(ThresholdService(), clock)
        usage = UsageHandler(counters, clock, changed=lambda _: None, announced=lambda: None)
        files = frozenset({"files.v1"})
        handler = Dispatch([(files, usage), (files, CleanupHandler())])
        consumer = EventConsumer(
            group="usage",
            topics=TOPICS,
            database=database,
            bootstrap=address,
            apply=handler.apply,
            on_committed=handler.on_committed,
        )
        running = asyncio.create_task(consumer.run())
        position = "SELECT coalesce(sum(position), 0) FROM tenant_usage"
        # The clock starts with the first batch, as it does below: joining a group is Kafka's time.
        while (seen := await watcher.fetchval(position)) == 0:
            await asyncio.sleep(0.002)
        begun = time.perf_counter()
        while await watcher.fetchval(position) < expected:
            assert not running.done(), running.result()
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - begun
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    total = await watcher.fetchrow("SELECT sum(bytes) AS bytes, sum(files) AS files FROM tenant_usage")
    assert dict(total) == {"bytes": expected * samples.SIZE, "files": expected}, total
    await watcher.close()
    return (RECORDS - int(seen) * RECORDS / expected) / seconds


async def _raw(address: str, dsn: str) -> float:
    """The same records, read in bulk and copied into a table: nothing understood, nothing counted."""
    connection: Any = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE raw (key bytea, partition int, at bigint, body bytea)")
    async with _reading(address) as consumer:
        seen, begun, first = 0, 0.0, 0
        while seen < RECORDS:
            found = await consumer.getmany(timeout_ms=1_000, max_records=5_000)
            batch = [(r.key, r.partition, r.offset, r.value) for part in found.values() for r in part]
            if batch:
                await connection.copy_records_to_table("raw", records=batch)
                seen += len(batch)
                if not begun:
                    begun, first = time.perf_counter(), seen
        seconds = time.perf_counter() - begun
    await connection.close()
    return (RECORDS - first) / seconds


async def _textbook(address: str, dsn: str) -> float:
    """One message, one session: was it seen, load the counter, change it, commit, acknowledge."""
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.tables["seenevent"].create)
        await connection.run_sync(SQLModel.metadata.tables["usagecounter"].create)
    async with _reading(address, group="textbook") as consumer:
        begun = 0.0
        for number in range(TEXTBOOK + 1):
            message = await consumer.getone()
            if number == 1:
                begun = time.perf_counter()
            await _count(engine, message)
            await consumer.commit()
        seconds = time.perf_counter() - begun
    await engine.dispose()
    return TEXTBOOK / seconds


async def _count(engine: Any, message: Any) -> None:
    event = orjson.loads(message.value)
    async with AsyncSession(engine) as session:
        if await session.get(SeenEvent, event["file_id"]) is not None:
            return
        tenant = UUID(event["tenant_id"])
        query = select(UsageCounter).where(UsageCounter.tenant_id == tenant).with_for_update()
        counter = (await session.exec(query)).first() or UsageCounter(tenant_id=tenant)
        counter.bytes += event["size"]
        counter.files += 1
        session.add(counter)
        session.add(SeenEvent(id=event["file_id"]))
        await session.commit()


@asynccontextmanager
async def _reading(address: str, group: str | None = None) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        "files.v1",
        bootstrap_servers=address,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()
