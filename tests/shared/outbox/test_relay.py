"""From commit to Kafka: everything, each tenant in order, whatever breaks in between."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from shared import outbox
from shared.db import Database
from shared.outbox import Relay, Stream, Wake
from tests.fixtures.broker import EmbeddedBroker
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.shared.kafka.samples import AT, stored

STREAM = Stream("files.v1")


@pytest.fixture
def created(pg: PostgresServer) -> ServiceDatabase:
    return pg.create("usage")


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """A cluster of the test's own, empty."""
    running = EmbeddedBroker()
    yield running
    running.stop()


def relay(database: Database, broker: EmbeddedBroker, **options: object) -> Relay:
    return Relay(database, [STREAM], bootstrap=broker.bootstrap, source="/stowage/test", **options)  # type: ignore[arg-type]


async def write(dsn: str, tenant: UUID, number: int, wake: bool = False) -> None:
    async with Database(dsn) as database:
        async with database.transaction(tenant) as connection:
            await outbox.append(connection, [stored(tenant) for _ in range(number)], at=AT)
        if wake:
            waker = Wake(database)
            waker.set()
            assert waker._task is not None
            await waker._task


async def read(broker: EmbeddedBroker, expected: int, seconds: float = 10) -> dict[UUID, list[int]]:
    """Seqs by tenant in the order of arrival, until `expected` records were seen."""
    consumer = AIOKafkaConsumer("files.v1", bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    seen: dict[UUID, list[int]] = defaultdict(list)
    try:
        async with asyncio.timeout(seconds):
            while sum(map(len, seen.values())) < expected:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    for record in batch:
                        seen[UUID(record.key.decode())].append(int(dict(record.headers)["ce_tenantseq"]))
    finally:
        await consumer.stop()
    return seen


async def marked(created: ServiceDatabase, seq: int, tenants: int = 1) -> None:
    """Until of so many tenants everything is known to have been sent, up to `seq`."""
    async with asyncio.timeout(10):
        while True:
            marks = await query(created.worker, "SELECT published_seq FROM outbox_cursor")
            if [mark["published_seq"] for mark in marks] == tenants * [seq]:
                return
            await asyncio.sleep(0.01)


async def test_everything_arrives_once_and_in_order(created: ServiceDatabase, own_broker: EmbeddedBroker) -> None:
    tenants = [uuid4() for _ in range(7)]
    await asyncio.gather(*(write(created.app, tenant, 300) for tenant in tenants))
    async with Database(created.worker) as database:
        running = asyncio.create_task(relay(database, own_broker).run())
        seen = await read(own_broker, 2100)
        await marked(created, 300, len(tenants))
        running.cancel()
    assert {t: seen[t] for t in tenants} == {t: list(range(1, 301)) for t in tenants}


async def test_a_commit_wakes_it_at_once(created: ServiceDatabase, own_broker: EmbeddedBroker) -> None:
    async with Database(created.worker) as database:
        # With a poll of a minute only the wake-up can bring it in time.
        running = asyncio.create_task(relay(database, own_broker, poll=60).run())
        await asyncio.sleep(1.5)
        await write(created.app, uuid4(), 1, wake=True)
        await read(own_broker, 1, seconds=3)
        running.cancel()


async def test_death_between_send_and_mark_repeats_and_loses_nothing(
    created: ServiceDatabase, own_broker: EmbeddedBroker
) -> None:
    tenant = uuid4()
    await write(created.app, tenant, 50)

    async def die() -> None:
        raise SystemError("killed")

    async with Database(created.worker) as database:
        with pytest.raises(ExceptionGroup):
            await relay(database, own_broker, after_send=die).run()
        running = asyncio.create_task(relay(database, own_broker).run())
        await marked(created, 50)
        running.cancel()
        seen = await read(own_broker, 100)
    assert seen[tenant] == [*range(1, 51), *range(1, 51)]


async def test_a_new_cluster_gets_everything_again(created: ServiceDatabase) -> None:
    tenant = uuid4()
    await write(created.app, tenant, 20)
    for _ in range(2):
        broker = EmbeddedBroker()
        async with Database(created.worker) as database:
            running = asyncio.create_task(relay(database, broker).run())
            seen = await read(broker, 20)
            running.cancel()
        broker.stop()
        assert seen[tenant] == list(range(1, 21))


async def test_two_relays_take_turns(created: ServiceDatabase, own_broker: EmbeddedBroker) -> None:
    tenant = uuid4()
    async with Database(created.worker) as one, Database(created.worker) as two:
        first = asyncio.create_task(relay(one, own_broker).run())
        await asyncio.sleep(1)
        second = asyncio.create_task(relay(two, own_broker).run())
        await write(created.app, tenant, 10, wake=True)
        await read(own_broker, 10)
        await marked(created, 10)  # who ends before that leaves what it has sent to be sent again
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await write(created.app, tenant, 10, wake=True)
        seen = await read(own_broker, 20)
        second.cancel()
    assert seen[tenant] == list(range(1, 21))
