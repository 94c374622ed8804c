"""Worker processes of usage as they are deployed, and records sent to them as upload's relay sends them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks import samples, servers
from deploy.local.ports import free_port
from shared.kafka.publisher import Publisher
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.fixtures.stack import ROOT

PAGE = 8_000  # records made, and sent, at a time
JOINERS = 64  # tenants whose records tell who has joined

_KNOWN = """
    INSERT INTO tenant_usage (tenant_id, limit_bytes, plan, entitlements_version, limits, updated_at, last_reset)
    SELECT t, 1000000000000, 'pro', 1, '{}', now(), now() FROM unnest($1::uuid[]) AS t
"""
_POSITION = "SELECT coalesce(sum(position), 0)::bigint FROM tenant_usage"
# Offsets are moved first thing in a batch: whoever may not write here waits, and stays in its group meanwhile.
_HOLD = "LOCK TABLE consumer_offset IN SHARE MODE"


@dataclass
class Counting:
    """Some workers on a topic of their own, and the tenants whose records they count."""

    usage: ServiceDatabase
    publisher: Publisher
    tenants: list[UUID]
    watcher: Any
    seqs: dict[UUID, int] = field(default_factory=dict)
    _turn: int = 0

    async def rate(self, records: int) -> float:
        """Records a second, all of which wait in Kafka when the clock starts."""
        holding: Any = await asyncpg.connect(self.usage.superuser)
        try:
            async with holding.transaction():
                await holding.execute(_HOLD)
                seen = await self.position()
                for page in self._pages(records):
                    await self.publisher.publish("files.v1", page)
            begun = time.perf_counter()
            while await self.position() < seen + records:
                await asyncio.sleep(0.02)
            return records / (time.perf_counter() - begun)
        finally:
            await holding.close()

    def page(self, records: int) -> list[dict[str, Any]]:
        """The next records; the tenants take turns."""
        rows = []
        for number in range(self._turn, self._turn + records):
            tenant = self.tenants[number % len(self.tenants)]
            seq = self.seqs[tenant] = self.seqs.get(tenant, 0) + 1
            rows.append(samples.outbox_row(tenant, seq))
        self._turn += records
        return rows

    def _pages(self, records: int) -> Sequence[list[dict[str, Any]]]:
        return [self.page(min(PAGE, records - start)) for start in range(0, records, PAGE)]

    async def position(self) -> int:
        return int(await self.watcher.fetchval(_POSITION))


@asynccontextmanager
async def counting(
    pg: PostgresServer, *, tenants: int = 100, partitions: int = 4, workers: int = 1
) -> AsyncIterator[Counting]:
    """All workers have joined, and none waits for another any more."""
    ids, joiners = _tenants(tenants), _tenants(JOINERS, base=2)
    usage = pg.create("usage")
    await query(usage.superuser, _KNOWN, ids + joiners)
    async with _topic(partitions) as address, Publisher(address, source="/stowage/bench") as publisher:
        ports = [free_port() for _ in range(workers)]
        running = [_worker(usage, address, port) for port in ports]
        watcher: Any = await asyncpg.connect(usage.superuser)
        found = Counting(usage, publisher, ids, watcher)
        try:
            sent = await _joined(publisher, joiners, ports, running)
            while await found.position() < sent:
                await asyncio.sleep(0.02)
            yield found
            assert all(process.poll() is None for process in running)
        finally:
            await watcher.close()
            for process in running:
                process.kill()
                process.wait()


def _tenants(number: int, base: int = 1) -> list[UUID]:
    first = 0x0195_0000_0000_7000_8000_0000_0000_0000 + base * 2**40
    return [UUID(int=first + n) for n in range(number)]


@asynccontextmanager
async def _topic(partitions: int) -> AsyncIterator[str]:
    """`files.v1` of so many partitions on a broker of its own; yields the address."""
    async with servers.broker() as address:
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
        yield address


def _worker(usage: ServiceDatabase, address: str, port: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "MODE": "local",
        "PORT": str(port),
        "LOG_LEVEL": "ERROR",
        "DATABASE_URL": usage.worker,
        "KAFKA_BOOTSTRAP": address,
        "INTERNAL_SECRET": "s" * 40,
        **dict.fromkeys(("UPLOAD_URL", "BILLING_URL", "GATEWAY_URL"), "http://127.0.0.1:1"),
    }
    command = [sys.executable, "-m", "services.usage.worker"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


async def _joined(
    publisher: Publisher, tenants: list[UUID], ports: Sequence[int], running: Sequence[subprocess.Popen[bytes]]
) -> int:
    """Sends a record of each tenant now and then, until every worker has counted some. Returns how many were sent."""
    seq, waiting = 0, set(ports)
    async with asyncio.timeout(120), aiohttp.ClientSession() as http:
        while waiting:
            assert all(process.poll() is None for process in running)
            seq += 1
            await publisher.publish("files.v1", [samples.outbox_row(tenant, seq) for tenant in tenants])
            await asyncio.sleep(0.5)
            waiting = {port for port in waiting if not await _counts(http, port)}
    return seq * len(tenants)


async def _counts(http: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            told = await answer.text()
    except aiohttp.ClientError:
        return False
    return 'stowage_consumer_records_total{group="usage",outcome="applied",topic="files.v1"}' in told
