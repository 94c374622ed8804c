"""Exactly once in effect, over every kind of trouble the wire can make."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer

from shared.db import Database
from shared.kafka import EventConsumer, Record, Topic
from shared.kafka.consumer import WINDOW, TooManyFailures
from shared.kafka.sequence import Gap
from tests.fixtures.broker import EmbeddedBroker
from tests.fixtures.postgres import PostgresServer, query
from tests.shared.kafka.samples import record, wire

TOPIC = "files.v1"


@dataclass
class Bench:
    """A database with an `effect` table, a cluster, and a ledger to ask."""

    dsn: str
    superuser: str
    broker: EmbeddedBroker
    database: Database
    ledger: dict[tuple[UUID, int], Record] = field(default_factory=dict)
    asked: list[Gap] = field(default_factory=list)

    def consumer(self, **options: Any) -> EventConsumer:
        settings: dict[str, Any] = {
            "group": "test",
            "topics": {TOPIC: Topic()},
            "database": self.database,
            "bootstrap": self.broker.bootstrap,
            "apply": apply,
            "fetch": self.fetch,
        }
        return EventConsumer(**{**settings, **options})

    async def fetch(self, gap: Gap) -> list[Record]:
        self.asked.append(gap)
        wanted = ((gap.tenant_id, seq) for seq in range(gap.after + 1, gap.before))
        return [fetched(self.ledger[key]) for key in wanted if key in self.ledger]

    def make(self, tenant: UUID, *seqs: int) -> list[Record]:
        made = [record(tenant, seq) for seq in seqs]
        self.ledger.update({(tenant, r.seq): r for r in made})
        return made

    async def send(self, records: Sequence[Record], **changes: Any) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap)
        await producer.start()
        for item in records:
            key = str(item.tenant_id).encode()
            await producer.send_and_wait(TOPIC, **{"value": item.body, "key": key, "headers": wire(item), **changes})
        await producer.stop()

    async def effects(self, tenant: UUID) -> list[int]:
        rows = await query(self.superuser, "SELECT seq FROM effect WHERE tenant_id = $1 ORDER BY n", tenant)
        return [row["seq"] for row in rows]

    async def until(self, tenant: UUID, seqs: list[int], seconds: float = 15) -> None:
        async with asyncio.timeout(seconds):
            while await self.effects(tenant) != seqs:
                await asyncio.sleep(0.05)


def fetched(item: Record) -> Record:
    return Record(item.topic, item.tenant_id, item.seq, item.type, item.body, item.headers, None)


async def apply(connection: Any, records: Sequence[Record]) -> None:
    await connection.executemany(
        "INSERT INTO effect (tenant_id, seq) VALUES ($1, $2)", [(r.tenant_id, r.seq) for r in records]
    )


@pytest.fixture
async def bench(pg: PostgresServer) -> AsyncIterator[Bench]:
    created = pg.create("usage")
    await query(
        created.superuser, "CREATE TABLE effect (n serial, tenant_id uuid, seq bigint, UNIQUE (tenant_id, seq))"
    )
    await query(created.superuser, "GRANT ALL ON effect, effect_n_seq TO usage_worker")
    broker = EmbeddedBroker()
    async with Database(created.worker) as database:
        yield Bench(created.worker, created.superuser, broker, database)
    broker.stop()


@pytest.fixture
async def run() -> AsyncIterator[Callable[[EventConsumer], asyncio.Task[None]]]:
    tasks: list[asyncio.Task[None]] = []

    def start(consumer: EventConsumer) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(consumer.run()))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


Run = Callable[[EventConsumer], "asyncio.Task[None]"]


async def test_twice_delivered_is_once_applied(bench: Bench, run: Run) -> None:
    tenants = [uuid4(), uuid4()]
    for tenant in tenants:
        records = bench.make(tenant, *range(1, 21))
        await bench.send([r for r in records for _ in range(2)])
        await bench.send(records)
    run(bench.consumer())
    for tenant in tenants:
        await bench.until(tenant, list(range(1, 21)))
    assert not bench.asked


async def test_replayed_from_the_start_changes_nothing(bench: Bench, run: Run) -> None:
    tenant = uuid4()
    await bench.send(bench.make(tenant, *range(1, 31)))
    task = run(bench.consumer())
    await bench.until(tenant, list(range(1, 31)))
    task.cancel()
    await query(bench.superuser, "UPDATE consumer_offset SET next_offset = 0")
    await bench.send(bench.make(tenant, 31))
    run(bench.consumer())
    await bench.until(tenant, list(range(1, 32)))


async def test_a_gap_is_fetched_before_going_on(bench: Bench, run: Run) -> None:
    tenant = uuid4()
    records = bench.make(tenant, *range(1, 11))
    await bench.send([*records[:3], *records[7:]])
    run(bench.consumer())
    await bench.until(tenant, list(range(1, 11)))
    assert (bench.asked[0].after, bench.asked[0].before) == (3, 8)


async def test_a_seq_the_ledger_never_wrote_is_a_dead_letter(bench: Bench, run: Run) -> None:
    tenant = uuid4()
    await bench.send([*bench.make(tenant, 1, 2), record(tenant, 99)])
    await bench.send(bench.make(tenant, 3))
    run(bench.consumer())
    await bench.until(tenant, [1, 2, 3])
    letters = await query(bench.superuser, "SELECT seq, left_out FROM dead_letter")
    assert [(letter["seq"], letter["left_out"]) for letter in letters] == [(99, False)]


async def test_malformed_records_are_kept_and_do_not_stop_the_others(bench: Bench, run: Run) -> None:
    tenant = uuid4()
    good = bench.make(tenant, 1, 2, 3)
    await bench.send(good[:1])
    await bench.send(good[1:2], value=b"\xff{")  # the ledger still knows it
    await bench.send(good[2:], headers=[("ce_type", b"\xff")])
    await bench.send(good[2:], key=None)
    await bench.send(good[2:])
    run(bench.consumer())
    await bench.until(tenant, [1, 2, 3])
    letters = await query(bench.superuser, "SELECT left_out FROM dead_letter")
    assert [letter["left_out"] for letter in letters] == [False] * 3, "the ledger's own are applied in their place"


async def test_a_record_that_the_ledger_has_no_better_is_left_out_once(bench: Bench, run: Run) -> None:
    tenant = uuid4()
    good = bench.make(tenant, 1, 2, 3)
    good[1] = bench.ledger[tenant, 2] = replace(good[1], body=b"{}", event=None)
    await bench.send(good)
    run(bench.consumer())
    await bench.until(tenant, [1, 3])
    letters = await query(bench.superuser, "SELECT seq, left_out FROM dead_letter ORDER BY left_out")
    assert [(letter["seq"], letter["left_out"]) for letter in letters] == [(2, False), (2, True)]


async def test_a_handler_that_never_can_gives_a_dead_letter_and_goes_on(bench: Bench, run: Run) -> None:
    async def picky(connection: Any, records: Sequence[Record]) -> None:
        if any(r.seq == 5 for r in records):
            raise ZeroDivisionError("five")
        await apply(connection, records)

    tenant = uuid4()
    await bench.send(bench.make(tenant, *range(1, 11)))
    run(bench.consumer(apply=picky))
    await bench.until(tenant, [1, 2, 3, 4, 6, 7, 8, 9, 10])
    letters = await query(bench.superuser, "SELECT seq, error, left_out FROM dead_letter")
    assert [(x["seq"], x["error"], x["left_out"]) for x in letters] == [(5, "ZeroDivisionError: five", True)]


async def test_when_everything_fails_it_stops_and_keeps_everything(bench: Bench, run: Run) -> None:
    async def broken(_connection: Any, _records: Sequence[Record]) -> None:
        raise ZeroDivisionError

    tenant = uuid4()
    await bench.send(bench.make(tenant, *range(1, 51)))
    with pytest.raises(TooManyFailures):
        async with asyncio.timeout(20):
            await run(bench.consumer(apply=broken))
    # Those before the window was full are dead letters; the others wait for a consumer that works.
    dead = len(await query(bench.superuser, "SELECT 1 FROM dead_letter"))
    assert dead < WINDOW
    run(bench.consumer())
    await bench.until(tenant, list(range(dead + 1, 51)))


async def test_trouble_that_passes_is_waited_for(bench: Bench, run: Run) -> None:
    attempts = 0

    async def shaky(connection: Any, records: Sequence[Record]) -> None:
        nonlocal attempts
        attempts += 1
        await apply(connection, records)
        if attempts < 4:
            raise ConnectionResetError

    tenant = uuid4()
    await bench.send(bench.make(tenant, *range(1, 6)))
    run(bench.consumer(apply=shaky))
    await bench.until(tenant, [1, 2, 3, 4, 5])
    assert attempts >= 4
    assert await query(bench.superuser, "SELECT 1 FROM dead_letter") == []


async def test_a_consumer_that_was_replaced_changes_nothing(bench: Bench, run: Run) -> None:
    """The zombie: its batch is in hand while another consumer has stored a later offset."""
    tenant = uuid4()
    blocked, release = asyncio.Event(), asyncio.Event()

    async def slow(connection: Any, records: Sequence[Record]) -> None:
        blocked.set()
        await release.wait()
        await apply(connection, records)

    original = bench.database.transaction
    await bench.send(bench.make(tenant, *range(1, 4)))
    zombie = bench.consumer(apply=slow)
    hold: Callable[..., Awaitable[None]] = zombie._process

    async def late(raw: Any) -> None:
        blocked.set()
        await release.wait()
        await hold(raw)

    zombie._process = late  # type: ignore[method-assign]
    run(zombie)
    await asyncio.wait_for(blocked.wait(), 10)
    run(bench.consumer(apply=apply))
    await asyncio.sleep(0.1)
    # What a successor would have done meanwhile: effects, seq and offset in one commit.
    async with original() as connection:
        await apply(connection, bench.make(tenant, 1, 2, 3))
        await connection.execute("INSERT INTO consumer_position VALUES ($1, $2, 3)", TOPIC, tenant)
        await connection.execute("UPDATE consumer_offset SET next_offset = next_offset + 3 WHERE next_offset = 0")
    release.set()
    await bench.send(bench.make(tenant, 4))
    await bench.until(tenant, [1, 2, 3, 4])
    assert await query(bench.superuser, "SELECT 1 FROM dead_letter") == []


async def test_two_consumers_share_and_a_rebalance_in_mid_batch_doubles_nothing(bench: Bench, run: Run) -> None:
    async def slow(connection: Any, records: Sequence[Record]) -> None:
        await apply(connection, records)
        await asyncio.sleep(0.05)

    tenants = [uuid4() for _ in range(8)]
    run(bench.consumer(apply=slow, max_records=10))
    sent = [bench.send(bench.make(tenant, *range(1, 61))) for tenant in tenants]
    first, rest = sent[0], sent[1:]
    await first
    second = run(bench.consumer(apply=slow, max_records=10))
    await asyncio.gather(*rest)
    await asyncio.sleep(1)
    second.cancel()
    for tenant in tenants:
        await bench.until(tenant, list(range(1, 61)), seconds=40)
    assert await query(bench.superuser, "SELECT 1 FROM dead_letter") == []
