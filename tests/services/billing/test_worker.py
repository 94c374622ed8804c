"""The worker process's parts over a real wire: from `tenants.v1` to Free, from a callback to Kafka."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from services.billing.worker import build
from shared.events import TenantCreated, TenantDeleted, TenantEvent, TenantUpdated
from shared.http.app import Check
from shared.ids import new_id
from shared.kafka.publisher import Publisher
from tests.fixtures.broker import EmbeddedBroker
from tests.fixtures.postgres import query
from tests.services.billing.world import Team, World, settings

TRACE = f"00-{7:032x}-{7:016x}-01"


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """Nobody else's records on the service's topics."""
    started = EmbeddedBroker()
    yield started
    started.stop()


@asynccontextmanager
async def working(world: World, bootstrap: str, **changes: Any) -> AsyncIterator[Sequence[str]]:
    """The tasks and jobs of the worker process; yields the names of its jobs."""
    told = settings(world.dsn.worker, world.sandbox, world.door.url, **changes)
    told = told.model_copy(update={"kafka_bootstrap": bootstrap})
    async with build(told) as parts:
        tasks = [asyncio.ensure_future(task()) for task in parts.tasks]

        async def repeat() -> None:
            while True:
                await asyncio.sleep(0.1)
                for job in parts.jobs:
                    await job.run()

        tasks.append(asyncio.create_task(repeat()))
        async with asyncio.timeout(20):
            while not await passes(parts.checks["consumer"]):
                await asyncio.sleep(0.05)
        yield [job.name for job in parts.jobs]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def passes(check: Check) -> bool:
    with suppress(RuntimeError):
        await check()
        return True
    return False


@pytest.fixture
async def bootstrap(world: World, own_broker: EmbeddedBroker) -> AsyncIterator[str]:
    async with working(world, own_broker.bootstrap) as jobs:
        assert jobs == ["janitor", "refunds", "callbacks", "forget", "forgeries", "credits", "renewals", "metrics"]
        yield own_broker.bootstrap


def row(kind: type[TenantEvent], tenant: UUID, seq: int) -> dict[str, Any]:
    event = kind(
        tenant_id=tenant,
        slug="ada",
        name="Ada",
        owner_id=uuid4(),
        owner_email="ada@stowage.example",
        timezone="Europe/Berlin",
        locale="en",
    )
    return {
        "tenant_id": tenant,
        "seq": seq,
        "id": new_id(),
        "type": kind.type,
        "occurred_at": datetime.now(UTC),
        "body": event.body(),
        "traceparent": TRACE,
    }


async def published(bootstrap: str, topic: str, count: int) -> list[tuple[str, int, str]]:
    """(type, seq, tenant) of what is on the topic, and that nothing more comes."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    seen: list[tuple[str, int, str]] = []
    try:
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(10 if len(seen) < count else 0.5):
                    record = await consumer.getone()
                headers = dict(record.headers)
                seen.append((headers["ce_type"].decode(), int(headers["ce_tenantseq"]), record.key.decode()))
    finally:
        await consumer.stop()
    return seen


async def test_a_new_tenant_gets_the_free_plan(world: World, bootstrap: str) -> None:
    tenant = uuid4()
    async with Publisher(bootstrap, source="/stowage/gateway") as publisher:
        for kind, seq in [(TenantCreated, 1), (TenantCreated, 1), (TenantUpdated, 2)]:
            await publisher.publish("tenants.v1", [row(kind, tenant, seq)])
    assert await published(bootstrap, "entitlements.v1", 1) == [("entitlements.changed", 1, str(tenant))]
    rows = await query(world.dsn.worker, "SELECT plan, version FROM subscription WHERE tenant_id = $1", tenant)
    assert [tuple(found) for found in rows] == [("free", 1)]
    rows = await query(world.dsn.worker, "SELECT timezone FROM credit_account WHERE tenant_id = $1", tenant)
    assert [row["timezone"] for row in rows] == ["Europe/Berlin"]


async def test_whatever_tells_of_a_tenant_gives_it_the_free_plan(bootstrap: str) -> None:
    """The topic is compacted: nothing but the newest record may be left of a tenant."""
    found, gone = uuid4(), uuid4()
    async with Publisher(bootstrap, source="/stowage/gateway") as publisher:
        await publisher.publish("tenants.v1", [row(TenantDeleted, gone, 2)])
        await publisher.publish("tenants.v1", [row(TenantUpdated, found, 7)])
    assert await published(bootstrap, "entitlements.v1", 1) == [("entitlements.changed", 1, str(found))]


async def test_from_the_callback_to_kafka(world: World, bootstrap: str) -> None:
    team = Team()
    payment = await world.started(team)
    await world.behave(deliveries=3, order="reverse", forged=True, wrong_amount="1.00")
    await world.press(payment)
    await world.until(team, payment, lambda p: len(p["callbacks"]) == 8)
    tenant = str(team.tenant)
    assert await published(bootstrap, "entitlements.v1", 2) == [
        ("entitlements.changed", 1, tenant),
        ("entitlements.changed", 2, tenant),
    ]
    told = await published(bootstrap, "billing.v1", 3)
    assert sorted(kind for kind, _, _ in told) == ["invoice.issued", "payment.completed", "subscription.changed"]
    assert [seq for _, seq, _ in told] == [1, 2, 3]


async def test_a_lost_callback_is_found_by_itself(world: World, own_broker: EmbeddedBroker) -> None:
    async with working(world, own_broker.bootstrap, janitor_seconds=0.2):
        team = Team()
        payment = await world.started(team)
        await world.behave(never=True)
        await world.press(payment)
        await query(world.dsn.worker, "UPDATE payment SET next_check_at = now()")
        seen = await world.until(team, payment, lambda p: p["status"] == "completed")
        assert seen["callbacks"] == []
