"""Sums become events, and are written once whatever the database answers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from services.gateway.traffic import service
from services.gateway.traffic.meter import Meter
from services.gateway.traffic.rules import Key, Sum, events_of
from services.gateway.traffic.service import Traffic
from shared.clock import FixedClock
from shared.db import Database
from shared.events.traffic import ITEMS
from shared.http import DRAIN, OUTLET, Arrived, Take
from tests.fixtures.postgres import ServiceDatabase, query

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOME = st.integers(1, 3).map(lambda n: UUID(int=n))
KEYS = st.tuples(SOME, st.none() | st.integers(1, 500).map(lambda n: UUID(int=n)))
SUMS = st.dictionaries(
    KEYS, st.builds(Sum, st.integers(0, 2**50), st.integers(0, 2**50), st.integers(0, 9)), max_size=30
)


class Trouble(Database):
    """Loses its connection `before` the commit, or `after` it."""

    when: str | None = None

    @asynccontextmanager
    async def transaction(self, tenant: UUID | None = None) -> AsyncIterator[Any]:
        when, self.when = self.when, None
        async with super().transaction(tenant) as connection:
            yield connection
            if when == "before":
                raise ConnectionResetError
        if when == "after":
            raise ConnectionResetError


class Wire:
    """A connection to a client: `unsent` bytes have not left."""

    lost = False
    unsent = 0

    def meter(self, tenant: UUID | None, method: str = "GET") -> Meter:
        meter = Meter({"method": method, "extensions": {OUTLET: self}}, _nothing, _nowhere)
        meter.tenant = tenant
        return meter


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _nowhere(_message: Message) -> None:
    return


def body(size: int) -> Message:
    return {"type": "http.response.body", "body": bytes(size), "more_body": True}


@given(sums=SUMS)
def test_events_hold_every_sum_once(sums: dict[Key, Sum]) -> None:
    events = events_of(sums, NOON, NOON + timedelta(seconds=5))
    found = {
        (event.tenant_id, item.project_id): Sum(item.bytes_in, item.bytes_out, item.requests)
        for event in events
        for item in event.items
    }
    assert found == sums
    assert sum(len(event.items) for event in events) == len(sums)
    assert [event.tenant_id for event in events] == sorted({tenant for tenant, _ in sums})


def test_an_event_stays_small() -> None:
    tenant = uuid4()
    events = events_of({(tenant, uuid4()): Sum(1, 1, 1) for _ in range(2 * ITEMS + 1)}, NOON, NOON)
    assert [len(event.items) for event in events] == [ITEMS, ITEMS, 1]


async def test_what_waits_in_the_process_is_not_sent() -> None:
    wire = Wire()
    meter = wire.meter(uuid4())
    await meter.send(body(1000))
    wire.unsent = 300
    assert meter.take(ended=False) == (0, 700)
    wire.unsent = 400  # more than was known: never taken back
    assert meter.take(ended=False) == (0, 0)
    wire.unsent = 100
    assert meter.take(ended=False) == (0, 200)
    wire.lost = True
    await meter.send(body(5000))  # nobody is there
    assert meter.take(ended=True) == (0, 100)


async def test_the_end_of_an_answer_is_on_its_way() -> None:
    wire = Wire()
    meter = wire.meter(uuid4())
    await meter.send(body(1000))
    wire.unsent = 300
    assert meter.take(ended=True) == (0, 1000)


async def test_the_end_of_an_answer_may_end_the_connection() -> None:
    """As it does where the body was not seen to its end: the client has read what it was sent all the same."""
    wire = Wire()

    async def last(_message: Message) -> None:
        wire.lost = True

    meter = Meter({"method": "PUT", "extensions": {OUTLET: wire}}, _nothing, last)
    meter.tenant = uuid4()
    await meter.send(body(1000))
    assert meter.take(ended=True) == (0, 1000)


async def test_an_answer_that_overtakes_the_last_move() -> None:
    """The exchange gives up a move whose bytes have all arrived: they came all the same."""
    begun, moved, nowhere = asyncio.Event(), asyncio.Event(), socket.socket()

    async def drain(most: int, take: Take) -> int:
        return await take(Arrived(nowhere), most)

    async def take(arrived: Arrived, most: int) -> int:
        begun.set()
        await moved.wait()
        arrived.close()
        return most

    meter = Meter({"method": "PUT", "extensions": {DRAIN: drain}}, _nothing, _nowhere)
    assert meter.drain is not None
    moving = asyncio.ensure_future(meter.drain(1000, take))
    await begun.wait()
    moving.cancel()
    asyncio.get_running_loop().call_later(0.01, moved.set)
    with pytest.raises(asyncio.CancelledError):
        await moving
    nowhere.close()
    assert meter.take(ended=True) == (1000, 0)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_of_which_nobody_heard(gateway_db: ServiceDatabase, when: str) -> None:
    tenants = [uuid4() for _ in range(3)]
    async with Trouble(gateway_db.app) as database:
        traffic = Traffic(database, FixedClock(NOON), 3600)
        for size in (10, 20):
            for tenant in tenants:
                meter = traffic.begin({"method": "GET"}, _nothing, _nowhere)
                meter.tenant = tenant
                await meter.send(body(size))
                traffic.end(meter)
            if size == 10:
                for _ in range(2):
                    database.when = when
                    with pytest.raises(ConnectionResetError):
                        await traffic.flush()
        await traffic.close()  # what was tried, and what came since
        await traffic.close()
    rows = await query(gateway_db.superuser, "SELECT tenant_id, seq, body FROM outbox_event ORDER BY tenant_id, seq")
    assert [(row["tenant_id"], row["seq"]) for row in rows] == [(t, seq) for t in sorted(tenants) for seq in (1, 2)]
    assert [orjson.loads(row["body"])["items"][0]["bytes_out"] for row in rows] == [10, 20] * 3


async def test_projects_without_end_are_none(gateway_db: ServiceDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST", 5)
    tenant = uuid4()
    async with Database(gateway_db.app) as database:
        traffic = Traffic(database, FixedClock(NOON), 3600)
        for _ in range(20):
            meter = Wire().meter(tenant)
            meter.project = uuid4()
            await meter.send(body(1))
            traffic.end(meter)
        await traffic.close()
    [row] = await query(gateway_db.superuser, "SELECT body FROM outbox_event")
    items = orjson.loads(row["body"])["items"]
    assert sorted(item["bytes_out"] for item in items) == [1, 1, 1, 1, 1, 15]
    assert [item["project_id"] for item in items if item["bytes_out"] == 15] == [None]
