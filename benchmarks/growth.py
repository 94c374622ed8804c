"""How counting grows: with tenants, partitions and consumers. Draws `docs/pictures/growth-*.svg` and prints the curves.

Every figure is of the same records, in the same run, by worker processes as they are deployed.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks import samples, servers
from benchmarks.drawing import curve
from benchmarks.report import Row
from shared.kafka.publisher import Publisher
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.fixtures.stack import ROOT

RECORDS = 200_000
TENANTS = (10, 100, 1_000, 10_000, 100_000)
PARTITIONS = (1, 2, 4, 8, 12)
CONSUMERS = (1, 2, 3, 4)
PICTURES = ROOT / "docs" / "pictures"

_KNOWN = """
    INSERT INTO tenant_usage (tenant_id, limit_bytes, plan, entitlements_version, limits, updated_at, last_reset)
    SELECT t, 1000000000000, 'pro', 1, '{}', now(), now() FROM unnest($1::uuid[]) AS t
"""
_POSITION = "SELECT coalesce(sum(position), 0)::bigint FROM tenant_usage"
SHARE = 0.1  # of the records, counted before the clock starts: joining a group is Kafka's time


async def run(pg: PostgresServer) -> list[Row]:
    by_tenants = {n: await _measure(pg, tenants=n) for n in TENANTS}
    by_partitions = {n: await _measure(pg, partitions=n) for n in PARTITIONS}
    by_consumers = {n: await _measure(pg, consumers=n, partitions=12) for n in CONSUMERS}
    hot = await _measure(pg, tenants=1)
    _draw("tenants", "tenants, all of them busy", by_tenants)
    _draw("partitions", "partitions, one consumer", by_partitions)
    _draw("consumers", "consumers, 12 partitions", by_consumers)
    for name, found in (("tenants", by_tenants), ("partitions", by_partitions), ("consumers", by_consumers)):
        print(name, {number: round(speed) for number, speed in found.items()}, flush=True)
    spread = by_tenants[100]
    return [
        Row(
            "counting for one tenant alone",
            "records/s",
            hot,
            spread,
            None,
            f"{hot / spread:.2f} × spread over 100 tenants",
            "≥ 0.9 × spread",
            hot >= 0.9 * spread,
            "textbook: the same records of 100 tenants; one consumer, 4 partitions, of which one tenant fills one; "
            f"{RECORDS:,} records",
        )
    ]


async def _measure(pg: PostgresServer, *, tenants: int = 100, partitions: int = 4, consumers: int = 1) -> float:
    """Records a second, by so many worker processes."""
    ids = [UUID(int=0x0195_0000_0000_7000_8000_0000_0000_0000 + n) for n in range(tenants)]
    usage = pg.create("usage")
    await query(usage.superuser, _KNOWN, ids)
    async with servers.broker() as address:
        await _divide(address, partitions)
        await _publish(address, ids)
        running = [_worker(usage, address) for _ in range(consumers)]
        try:
            return await _watch(usage, running)
        finally:
            for process in running:
                process.kill()
                process.wait()


async def _divide(address: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.delete_topics(["files.v1"])
        while "files.v1" in await admin.list_topics():
            await asyncio.sleep(0.1)
        await admin.create_topics([NewTopic("files.v1", partitions, 1)])
        await asyncio.sleep(0.5)
    finally:
        await admin.close()


async def _publish(address: str, tenants: list[UUID]) -> None:
    """The tenants take turns; a page of rows in memory at a time."""
    async with Publisher(address, source="/stowage/bench") as publisher:
        for start in range(0, RECORDS, 8_000):
            rows = []
            for number in range(start, min(start + 8_000, RECORDS)):
                tenant = tenants[number % len(tenants)]
                rows.append(samples.outbox_row(tenant, number // len(tenants) + 1))
            await publisher.publish("files.v1", rows)


def _worker(usage: ServiceDatabase, address: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "MODE": "local",
        "PORT": "0",
        "LOG_LEVEL": "ERROR",
        "DATABASE_URL": usage.worker,
        "KAFKA_BOOTSTRAP": address,
        "INTERNAL_SECRET": "s" * 40,
        **dict.fromkeys(("UPLOAD_URL", "BILLING_URL", "GATEWAY_URL"), "http://127.0.0.1:1"),
    }
    command = [sys.executable, "-m", "services.usage.worker"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


async def _watch(usage: ServiceDatabase, running: Sequence[subprocess.Popen[bytes]]) -> float:
    connection: Any = await asyncpg.connect(usage.superuser)
    try:
        while (seen := await connection.fetchval(_POSITION)) < SHARE * RECORDS:
            assert all(process.poll() is None for process in running)
            await asyncio.sleep(0.005)
        begun = time.perf_counter()
        while await connection.fetchval(_POSITION) < RECORDS:
            assert all(process.poll() is None for process in running)
            await asyncio.sleep(0.02)
        return float(RECORDS - seen) / (time.perf_counter() - begun)
    finally:
        await connection.close()


def _draw(name: str, label: str, found: dict[int, float]) -> None:
    PICTURES.mkdir(exist_ok=True)
    Path(PICTURES / f"growth-{name}.svg").write_text(curve(label, "records a second", found))
