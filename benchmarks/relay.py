"""Ledger → Kafka: 100,000 entries of 50 tenants, from the table to the cluster's acknowledgement."""

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaProducer

from benchmarks import samples, servers
from benchmarks.report import Row
from services.upload.wiring import FILES
from shared.db import Database
from shared.outbox import Relay
from tests.fixtures.postgres import PostgresServer, ServiceDatabase

TENANTS, EACH = 50, 2_000
TEXTBOOK = 1_500  # events; a whole run would take minutes
_COLUMNS = [
    "tenant_id",
    "seq",
    "id",
    "action",
    "type",
    "file_id",
    "file_path",
    "file_name",
    "file_size",
    "delta",
    "content_type",
    "file_type",
    "category",
    "metadata",
    "occurred_at",
    "body",
    "prev_hash",
    "hash",
]


async def run(pg: PostgresServer) -> list[Row]:
    created = pg.create("upload")
    tenants = [uuid4() for _ in range(TENANTS)]
    rows = samples.outbox_rows(tenants, EACH)
    await _fill(created, tenants, rows)
    async with servers.broker("raw.v1", "textbook.v1") as address:
        raw = await _raw(address, rows)
        ours = await _ours(address, created, len(rows))
        raw = max(raw, await _raw(address, rows))  # not disturbed by the first one's warming up
        textbook = await _textbook(address, pg.empty(), rows[:TEXTBOOK])
    ratio = ours / raw
    return [
        Row("relay, ledger → Kafka", "events/s", ours, textbook, raw, f"{ratio:.2f} × raw", "≥ 0.5 × raw", ratio >= 0.5)
    ]


async def _ours(address: str, created: ServiceDatabase, expected: int) -> float:
    async with Database(created.worker) as database:
        relay = Relay(database, [FILES], bootstrap=address, source="/stowage/bench")
        watcher: Any = await asyncpg.connect(created.superuser)
        begun = time.perf_counter()
        running = asyncio.create_task(relay.run())
        while await watcher.fetchval("SELECT coalesce(sum(published_seq), 0) FROM outbox_cursor") < expected:
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - begun
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await watcher.close()
    return expected / seconds


async def _raw(address: str, rows: list[dict[str, Any]]) -> float:
    """The same records from memory by the idempotent producer, with large batches."""
    records = [(str(row["tenant_id"]).encode(), row["body"].encode()) for row in rows]
    producer = AIOKafkaProducer(
        bootstrap_servers=address, enable_idempotence=True, acks="all", max_batch_size=512 * 1024, linger_ms=5
    )
    await producer.start()
    try:
        begun = time.perf_counter()
        waiting = [await producer.send("raw.v1", key=key, value=value) for key, value in records]
        await asyncio.gather(*waiting)
        return len(records) / (time.perf_counter() - begun)
    finally:
        await producer.stop()


async def _textbook(address: str, dsn: str, rows: list[dict[str, Any]]) -> float:
    """A table, a loop, one event at a time: read, send, wait, mark."""
    connection: Any = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE outbox (n serial PRIMARY KEY, key text, body text, sent boolean)")
    await connection.executemany(
        "INSERT INTO outbox (key, body, sent) VALUES ($1, $2, false)",
        [(str(row["tenant_id"]), row["body"]) for row in rows],
    )
    producer = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True, acks="all")
    await producer.start()
    try:
        begun = time.perf_counter()
        while True:
            async with connection.transaction():
                row = await connection.fetchrow("SELECT * FROM outbox WHERE NOT sent ORDER BY n LIMIT 1 FOR UPDATE")
                if row is None:
                    break
                await producer.send_and_wait("textbook.v1", key=row["key"].encode(), value=row["body"].encode())
                await connection.execute("UPDATE outbox SET sent = true WHERE n = $1", row["n"])
        return len(rows) / (time.perf_counter() - begun)
    finally:
        await producer.stop()
        await connection.close()


async def _fill(created: ServiceDatabase, tenants: list[UUID], rows: list[dict[str, Any]]) -> None:
    connection: Any = await asyncpg.connect(created.superuser)
    await connection.executemany(
        "INSERT INTO tenant_storage (tenant_id, plan, entitlements_version, seq) VALUES ($1, 'pro', 1, $2)",
        [(tenant, EACH) for tenant in tenants],
    )
    nothing = bytes(32)
    await connection.copy_records_to_table(
        "storage_transaction",
        columns=_COLUMNS,
        records=[
            (
                row["tenant_id"],
                row["seq"],
                row["id"],
                "upload",
                row["type"],
                row["id"],
                "p",
                "n",
                samples.SIZE,
                samples.SIZE,
                "a/b",
                "document",
                "documents",
                "{}",
                row["occurred_at"],
                row["body"],
                nothing,
                nothing,
            )
            for row in rows
        ],
    )
    await connection.execute("VACUUM ANALYZE storage_transaction")
    await connection.close()
