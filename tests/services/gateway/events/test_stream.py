"""Open pages hear of changes at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from starlette.types import Receive, Send

from services.gateway.events import routes
from services.gateway.events.channel import Subscription
from services.gateway.events.hub import CHANNEL
from shared.db import Database
from shared.outbox import Wake
from tests.fixtures.postgres import ServiceDatabase
from tests.services.gateway.harness import Gateway, Person, Seen, answer_json, running_gateway
from tests.services.gateway.notifications.samples import HANDLERS, crossed, record


class Counter:
    """Plays usage's long poll."""

    def __init__(self, gateway: Gateway, person: Person) -> None:
        self.position = 3
        self.moved = asyncio.Event()
        self.waiting = 0
        gateway.stub.answers[f"/internal/usage/{person.tenant['id']}/wait"] = self

    async def __call__(self, seen: Seen, receive: Receive, send: Send) -> None:
        assert seen.principal.kind == "service"
        known = f"after={self.position}&" in seen.query
        if known:
            self.waiting += 1
            self.moved.clear()
            leaving, moving = asyncio.create_task(_left(receive)), asyncio.create_task(self.moved.wait())
            await asyncio.wait({leaving, moving}, return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            moving.cancel()
            self.waiting -= 1
        body = {"position": self.position, "version": 1, "storage": {"used": self.position * 10, "limit": 100}}
        await answer_json(send, 200, json.dumps(body).encode())

    def move(self) -> None:
        self.position += 1
        self.moved.set()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    kind = ""
    async for line in answer.content:
        if line.startswith(b"event: "):
            kind = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield kind, json.loads(line[6:])
        elif line.startswith(b": "):
            yield "heartbeat", None


async def _next(events: AsyncIterator[tuple[str, Any]]) -> tuple[str, Any]:
    async with asyncio.timeout(5):
        return await anext(events)


async def test_usage_and_notifications_arrive(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    usage = Counter(gateway, person)
    async with gateway.http.get(f"{gateway.url}/api/events", headers=person.bearer) as answer:
        assert answer.content_type == "text/event-stream"
        events = _events(answer)
        assert await _next(events) == ("usage", {"used": 30, "limit": 100, "position": 3})
        while not usage.waiting:
            await asyncio.sleep(0.01)
        usage.move()
        assert await _next(events) == ("usage", {"used": 40, "limit": 100, "position": 4})
        alert = record(crossed(UUID(person.tenant["id"]), 80))
        async with Database(gateway.database.worker) as database:
            async with database.transaction() as connection:
                await HANDLERS.apply(connection, [alert])
            Wake(database, CHANNEL).set(str(alert.tenant_id))
            kind, data = await _next(events)
        assert (kind, data["id"], data["kind"]) == ("notification", str(alert.id), "storage_warning")


async def test_leaving_ends_the_question_to_usage(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    usage = Counter(gateway, person)
    async with gateway.http.get(f"{gateway.url}/api/events", headers=person.bearer) as answer:
        await _next(_events(answer))
        while not usage.waiting:
            await asyncio.sleep(0.01)
        answer.close()
    async with asyncio.timeout(3):
        while usage.waiting:
            await asyncio.sleep(0.01)


async def test_quiet_stream_says_it_is_there(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "HEARTBEAT_SECONDS", 0.05)
    person = await gateway.sign_up()
    Counter(gateway, person)
    async with gateway.http.get(f"{gateway.url}/api/events", headers=person.bearer) as answer:
        events = _events(answer)
        await _next(events)
        assert (await _next(events))[0] == "heartbeat"
        answer.close()


async def test_streams_are_bounded_per_user(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with running_gateway(gateway_db, tmp_path, streams_per_user=2) as gateway:
        person = await gateway.sign_up()
        Counter(gateway, person)
        first = await gateway.http.get(f"{gateway.url}/api/events", headers=person.bearer)
        second = await gateway.http.get(f"{gateway.url}/api/events", headers=person.bearer)
        for answer in (first, second):
            await _next(_events(answer))
        status, problem = await gateway.call("GET", "/api/events", headers=person.bearer)
        assert (status, problem["code"]) == (429, "too_many_streams")
        for answer in (first, second):
            answer.close()


async def test_stream_needs_a_person(gateway: Gateway) -> None:
    assert (await gateway.call("GET", "/api/events"))[0] == 401


async def test_slow_reader_gets_the_newest_figures_only() -> None:
    subscription = Subscription()
    for used in range(1000):
        subscription.put("usage", "usage", used)
    assert await subscription.next(1) == ("usage", 999)
    assert await subscription.next(0.01) is None
