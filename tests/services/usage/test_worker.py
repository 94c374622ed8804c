"""The worker process's parts over a real wire: from `files.v1` to counters, notices and `alerts.v1`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from services.usage.counters.repository import CounterRepository
from services.usage.counters.snapshot import Snapshot
from services.usage.errors import LedgerUnreachable
from services.usage.live.service import CHANNEL
from services.usage.schemas.provisioner import CHANNEL as TENANT
from services.usage.settings import Settings
from services.usage.worker import build
from shared.db import Database
from shared.events import TenantDeleted, TenantUpdated
from shared.kafka.publisher import Publisher
from shared.kafka.records import Record
from shared.outbox import Listener, Wake
from shared.worker import Job
from tests.fixtures.broker import EmbeddedBroker
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.fakes import FakeBilling, FakeLedger
from tests.services.usage.neighbours import neighbours
from tests.services.usage.samples import (
    PROJECTS,
    START,
    bought,
    credited,
    deleted,
    granted,
    stored,
    told,
    trace,
    traffic,
)


@dataclass
class Running:
    database: Database
    ledger: FakeLedger
    bootstrap: str
    publisher: Publisher
    jobs: Sequence[Job]

    async def send(self, *records: Record) -> None:
        for record in records:
            row = {
                "tenant_id": record.tenant_id,
                "seq": record.seq,
                "id": record.id,
                "type": record.type,
                "occurred_at": record.time,
                "body": record.body.decode(),
                "traceparent": record.traceparent,
            }
            await self.publisher.publish(record.topic, [row])

    async def settled(self, tenant: UUID, ready: Callable[[Snapshot], bool]) -> Snapshot:
        async with asyncio.timeout(15):
            while True:
                async with self.database.transaction() as connection:
                    found = await CounterRepository(connection).find_snapshot(tenant)
                if found is not None and ready(found):
                    return found
                await asyncio.sleep(0.02)

    async def row(self, sql: str, tenant: UUID, ready: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(15):
            while True:
                async with self.database.transaction() as connection:
                    found = await connection.fetchrow(sql, tenant)
                if found is not None and ready(found):
                    return found
                await asyncio.sleep(0.02)

    async def alerts(self, count: int) -> list[tuple[str, int, str]]:
        """(type, percent, trace id) of what is published, and that nothing more comes."""
        consumer = AIOKafkaConsumer("alerts.v1", bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        seen: list[tuple[str, int, str]] = []
        try:
            with suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(10 if len(seen) < count else 0.5):
                        seen.append(_told(await consumer.getone()))
        finally:
            await consumer.stop()
        return seen


def _told(record: Any) -> tuple[str, int, str]:
    headers = dict(record.headers)
    return (
        headers["ce_type"].decode(),
        orjson.loads(record.value)["percent"],
        headers["traceparent"].decode().split("-")[1],
    )


@pytest.fixture
async def running(usage_db: ServiceDatabase, own_broker: EmbeddedBroker) -> AsyncIterator[Running]:
    ledger = FakeLedger()
    async with neighbours(FakeBilling(), ledger) as address:
        settings = Settings(
            mode="local",
            database_url=usage_db.worker,
            kafka_bootstrap=own_broker.bootstrap,
            internal_secret="0" * 32,
            upload_url=address,
            billing_url=address,
            gateway_url=address,
        )
        async with (
            build(settings) as parts,
            Publisher(own_broker.bootstrap, source="/stowage/upload") as publisher,
            Database(usage_db.worker) as database,
        ):
            tasks: Sequence[asyncio.Task[Any]] = [asyncio.ensure_future(task()) for task in parts.tasks]
            yield Running(database, ledger, own_broker.bootstrap, publisher, parts.jobs)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_an_update_wants_filled_in_is_asked_for_at_once(running: Running) -> None:
    [job] = [job for job in running.jobs if job.name == "filling"]
    await job.run()  # nothing is wanted, nobody is asked
    async with running.database.transaction() as connection:
        await connection.execute("INSERT INTO rebuild_wanted VALUES ('hidden')")
    with pytest.raises(LedgerUnreachable):  # and has no ledgers here
        await job.run()


async def test_from_the_ledger_to_the_alert(running: Running) -> None:
    tenant = uuid4()
    batch = [granted(1, 100, tenant=tenant), stored(1, 60, tenant=tenant), stored(2, 30, tenant=tenant)]
    async with Listener(running.database.dsn, CHANNEL) as listener:
        await listener.wait(0)
        for record in batch:
            await running.send(record, record)  # everything comes twice
        found = await running.settled(tenant, lambda usage: usage.position == 2 and usage.version == 1)
        assert (found.bytes, found.files, found.limit) == (90, 2, 100)
        assert str(tenant) in await listener.wait(5)
    await running.send(*batch, deleted(3, 30, tenant=tenant), *batch)
    await running.settled(tenant, lambda usage: usage.position == 3)
    published = await running.alerts(2)
    assert [(kind, percent) for kind, percent, _ in published] == [("threshold.crossed", 80), ("threshold.cleared", 80)]
    assert [trace_id for _, _, trace_id in published][1] == trace(3).split("-")[1]


async def test_what_kafka_lost_is_fetched_from_upload(running: Running) -> None:
    tenant = uuid4()
    running.ledger.entries = [stored(seq, 10, tenant=tenant) for seq in (1, 2, 3)]
    await running.send(running.ledger.entries[0], running.ledger.entries[2])
    found = await running.settled(tenant, lambda usage: usage.position == 3)
    assert (found.bytes, found.files) == (30, 3)


async def test_a_tenant_from_its_sign_up_to_its_end(running: Running) -> None:
    tenant = uuid4()
    place = "SELECT place, number FROM tenant WHERE tenant_id = $1"
    batch = [stored(1, 60, tenant=tenant), told(tenant), stored(2, 5, tenant=tenant), deleted(3, 5, tenant=tenant)]
    for record in batch:
        await running.send(record, record)  # everything comes twice
    await running.row(place, tenant, lambda row: row["place"] == "shared")
    await running.settled(tenant, lambda usage: usage.position == 3)
    day = await running.row("SELECT files, bytes FROM cleanup_day WHERE tenant_id = $1", tenant, bool)
    assert (day["files"], day["bytes"]) == (1, 5)
    async with running.database.transaction() as connection:
        await connection.execute("UPDATE tenant SET isolation = 'schema' WHERE tenant_id = $1", tenant)
    Wake(running.database, TENANT).set()
    number = (await running.row(place, tenant, lambda row: row["place"] == "schema"))["number"]
    sql = f"SELECT total_used FROM client_{number}.storage_management WHERE user_id = $1"
    assert (await running.row(sql, tenant, bool))["total_used"] == 60
    await running.send(told(tenant, 2, TenantDeleted))
    await running.row(place, tenant, lambda row: row["place"] is None)
    async with running.database.acquire() as connection:
        assert await connection.fetchval("SELECT to_regnamespace($1)", f"client_{number}") is None


async def test_traffic_twice_with_a_gap_beside_files_is_added_once(running: Running) -> None:
    """Files and traffic in the same batches; what Kafka lost of the traffic is fetched from the gateway."""
    tenant, other, at = uuid4(), uuid4(), START + timedelta(days=1)
    told = [traffic(seq, at, (PROJECTS[0], seq, 10 * seq, 1), (None, 0, 1, 1), tenant=tenant) for seq in (1, 2, 3)]
    running.ledger.entries = told
    await running.send(told[0], stored(1, 60, tenant=tenant, project=PROJECTS[0]), told[0], told[2])
    await running.send(told[1], told[2], traffic(1, at, (None, 5, 5, 5), tenant=other), told[0])
    found = await running.settled(tenant, lambda usage: usage.position == 1)
    assert found.bytes == 60
    for who, wanted in (
        (other, [(None, 5, 5, 5, 0)]),
        (tenant, [(None, 0, 3, 3, 0), (PROJECTS[0], 6, 60, 3, 60)]),
    ):
        async with asyncio.timeout(15):
            while (rows := await _months(running, who)) != wanted:
                assert sum(row[3] for row in rows) <= 6, rows
                await asyncio.sleep(0.02)
        [whole] = await query(
            running.database.dsn, "SELECT traffic_in, traffic_out, requests FROM tenant_month WHERE tenant_id = $1", who
        )
        sums = [sum(column) for column in zip(*(row[1:4] for row in rows), strict=True)]
        assert list(whole) == sums, "in the same commit"


async def test_traffic_bought_twice_with_a_gap_raises_the_limit_once(running: Running) -> None:
    tenant = uuid4()
    sold = [bought(seq, 10, "2026-03", tenant=tenant, at=START) for seq in (1, 2, 3)]
    running.ledger.entries = sold
    await running.send(granted(1, 100, tenant=tenant), sold[0], sold[0], sold[2], sold[2], sold[1])
    month = "SELECT sum(traffic_bought)::bigint AS n FROM tenant_month WHERE tenant_id = $1"
    found = await running.row(month, tenant, lambda row: (row["n"] or 0) >= 30)
    await running.send(*sold, stored(1, 5, tenant=tenant))
    await running.settled(tenant, lambda usage: usage.position == 1)
    again = await running.row(month, tenant, bool)
    assert (found["n"], again["n"]) == (30, 30)


async def test_credits_kafka_lost_are_fetched_from_billing_and_members_are_the_newest(running: Running) -> None:
    """Of credits nothing may be missing; the topic of tenants is compacted, so that the newest is enough."""
    tenant = uuid4()
    spent = [credited(seq, 100 - 10 * seq, 10 * seq, tenant=tenant, at=START) for seq in range(1, 10)]
    running.ledger.entries = spent
    await running.send(granted(1, 100, members=5, tenant=tenant), spent[0], spent[0], spent[2])
    await running.send(spent[8], spent[8], told(tenant, 9, TenantUpdated, members=4))
    await running.send(told(tenant, 2, TenantUpdated, members=2), spent[1])
    wanted = {"members": 4, "projects": 0, "credits": 90}
    await running.settled(
        tenant, lambda usage: usage.version == 1 and wanted == {m: f.used for m, f in usage.figures.items()}
    )
    [row] = await query(running.database.dsn, "SELECT seq FROM consumer_position WHERE topic = 'billing.v1'")
    assert row["seq"] == 9
    sql = "SELECT metric, value FROM alert WHERE tenant_id = $1 ORDER BY metric, value"
    assert [tuple(r) for r in await query(running.database.dsn, sql, tenant)] == [("credits", 80), ("members", 80)]


async def _months(running: Running, tenant: UUID) -> list[tuple[UUID | None, int, int, int, int]]:
    async with running.database.acquire() as connection:
        rows = await connection.fetch(
            "SELECT nullif(project_id, $2), traffic_in, traffic_out, requests, storage_bytes "
            "FROM project_usage WHERE tenant_id = $1 ORDER BY project_id",
            tenant,
            UUID(int=0),
        )
    return [tuple(row) for row in rows]
