"""From a committed entry to the counter that shows it, at 1,000 events a second on a whole stack; and to the alert.
And while records come at half of the most that a worker can count.
"""

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import samples
from benchmarks.pace import half
from benchmarks.report import Row, percentile
from deploy.local.demo.client import Person
from services.upload.quota.changes import Change
from services.upload.quota.rules import Settle
from services.upload.quota.writer import AccountWriter
from shared.db import Database
from shared.outbox import Wake
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.stack import Stack, person, started

RATE, SECONDS = 1_000, 10  # events a second, and for how long
TENANTS = 20
ALERTS = 5
_ACCOUNT = "INSERT INTO tenant_storage (tenant_id, plan, entitlements_version) VALUES ($1, 'pro', 1) RETURNING 1"

Moments = dict[tuple[UUID, int], float]


async def run(pg: PostgresServer) -> list[Row]:
    return [await _whole(), await half(pg)]


async def _whole() -> Row:
    with started("auto") as stack:
        async with aiohttp.ClientSession() as http:
            people = [await person(stack, http) for _ in range(ALERTS)]
            for someone in people:
                (await someone.upload("first.txt", b"x", "documents")).expect(201, "an upload")
            raw = await _raw(stack.status["kafka"])
            committed, seen, alerts = await _load(stack, people)
    waits = [(seen[key] - at) * 1000 for key, at in committed.items()]
    p99, alert = percentile(waits, 0.99), max(alerts)
    return Row(
        "event committed → counter visible, 1,000 events/s",
        "ms (p99)",
        p99,
        None,
        raw,
        f"p50 {percentile(waits, 0.5):.0f}, p99 {p99:.0f}, alert ≤ {alert * 1000:.0f} ms",
        "p99 ≤ 100 ms, alert ≤ 1 s",
        p99 <= 100 and alert <= 1,
        f"{len(waits)} events of {TENANTS} tenants; raw is producer → consumer at the same rate, nothing stored",
    )


async def _load(stack: Stack, people: list[Person]) -> tuple[Moments, Moments, list[float]]:
    tenants = [uuid4() for _ in range(TENANTS)]
    for tenant in tenants:
        await stack.query("upload", _ACCOUNT, tenant)
    committed: Moments = {}
    seen: Moments = {}
    watching = asyncio.create_task(_watch(stack, seen))
    async with Database(stack.dsn("upload", "app")) as database:
        writer = AccountWriter(database, on_commit=Wake(database).set)

        async def store(tenant: UUID) -> None:
            file = samples.file_stored(tenant)
            result = await writer.submit(tenant, Change(Settle(file.file_id, file.size), file=file))
            assert result.seq is not None
            committed[tenant, result.seq] = time.perf_counter()

        alerting = asyncio.create_task(_alerts(stack, people, writer))
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(RATE * SECONDS):
                await asyncio.sleep(max(0, begun + number / RATE - time.perf_counter()))
                group.create_task(store(tenants[number % TENANTS]))
        alerts = await alerting
    async with asyncio.timeout(30):
        while committed.keys() - seen.keys():
            await asyncio.sleep(0.05)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return committed, seen, alerts


async def _watch(stack: Stack, seen: Moments) -> None:
    """Looks at the counters as often as it can, from outside."""
    connection: Any = await asyncpg.connect(stack.dsn("usage"))
    shown: dict[UUID, int] = {}
    try:
        while True:
            rows = await connection.fetch("SELECT tenant_id, position FROM tenant_usage")
            now = time.perf_counter()
            for row in rows:
                tenant, position = row["tenant_id"], row["position"]
                for seq in range(shown.get(tenant, 0) + 1, position + 1):
                    seen[tenant, seq] = now
                shown[tenant] = position
            await asyncio.sleep(0.004)
    finally:
        await connection.close()


async def _alerts(stack: Stack, people: list[Person], writer: AccountWriter) -> list[float]:
    """One after the other crosses 80 %: seconds until the notification is there."""
    connection: Any = await asyncpg.connect(stack.dsn("gateway"))
    waits = []
    for someone in people:
        await asyncio.sleep(SECONDS / ALERTS / 2)
        tenant = UUID(someone.tenant["id"])
        file = samples.file_stored(tenant).model_copy(update={"size": 85 * 1024**2})
        await writer.submit(tenant, Change(Settle(file.file_id, file.size), file=file))
        begun = time.perf_counter()
        while not await connection.fetchval("SELECT count(*) FROM notification WHERE tenant_id = $1", tenant):
            assert time.perf_counter() - begun < 20, "no alert came"
            await asyncio.sleep(0.005)
        waits.append(time.perf_counter() - begun)
    await connection.close()
    return waits


async def _raw(address: str) -> float:
    """p99 in ms from `send` to `getmany` at the same rate."""
    topic = "files.v1.usage.dlq"  # exists on every broker, and nobody reads it
    consumer = AIOKafkaConsumer(bootstrap_servers=address, fetch_max_wait_ms=20)
    producer = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True, acks="all")
    await producer.start()
    await producer.send_and_wait(topic, b"0")
    await consumer.start()
    partitions = await producer.partitions_for(topic)
    from aiokafka import TopicPartition

    consumer.assign([TopicPartition(topic, number) for number in partitions])
    await consumer.seek_to_end()
    waits: list[float] = []

    async def read() -> None:
        while True:
            found = await consumer.getmany(timeout_ms=20)
            now = time.perf_counter()
            waits.extend((now - float(r.value)) * 1000 for part in found.values() for r in part)

    reading = asyncio.create_task(read())
    begun = time.perf_counter()
    for number in range(2 * RATE):
        await asyncio.sleep(max(0, begun + number / RATE - time.perf_counter()))
        await producer.send(topic, str(time.perf_counter()).encode())
    await producer.flush()
    await asyncio.sleep(0.2)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await consumer.stop()
    await producer.stop()
    return percentile(waits, 0.99)
