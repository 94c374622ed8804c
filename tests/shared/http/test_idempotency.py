"""One POST, however often its client sends it."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.middleware import Middleware

from shared.db import Database
from shared.errors import DomainError
from shared.http import create_app
from shared.http.app import MAX_BODY
from shared.http.idempotency import Idempotency, sweep
from shared.security import Principal, sign
from shared.settings import ServiceSettings
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.services.billing.serving import served

SECRET = "0123456789abcdef0123456789abcdef-tests"


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "sample"


@dataclass
class Works:
    """A service that counts what it did. While `gate` is shut, work begins and does not end."""

    done: list[Any] = field(default_factory=list)
    begun: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    crashes: int = 0


@dataclass
class Answer:
    status: int
    headers: Any
    text: str

    @property
    def code(self) -> str:
        return str(json.loads(self.text)["code"])


@dataclass
class Shop:
    url: str
    works: Works
    database: ServiceDatabase
    tenant: UUID = field(default_factory=uuid4)

    async def post(
        self, body: Any, key: str | None, *, path: str = "/orders", tenant: UUID | None = None, user: UUID | None = None
    ) -> Answer:
        principal = Principal(kind="user", user_id=user or UUID(int=1), tenant_id=tenant or self.tenant)
        headers = {
            "stowage-internal": sign(principal, secret=SECRET, audience="sample", issuer="gateway"),
            "content-type": "application/json",
        }
        if key is not None:
            headers["idempotency-key"] = key
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.url + path, data=io.BytesIO(data), headers=headers) as answer,
        ):
            return Answer(answer.status, answer.headers, await answer.text())

    async def age(self, interval: str) -> None:
        await query(self.database.superuser, f"UPDATE idempotency_key SET started_at = now() - interval '{interval}'")

    async def kept(self) -> int:
        return len(await query(self.database.superuser, "SELECT FROM idempotency_key"))


def routes(works: Works) -> APIRouter:
    router = APIRouter()

    @router.post("/orders", status_code=201)
    @router.post("/returns", status_code=201)
    async def order(body: dict[str, Any], response: Response) -> dict[str, Any]:
        works.begun.release()
        await works.gate.wait()
        if works.crashes:
            works.crashes -= 1
            raise RuntimeError("the shop burns")
        works.done.append(body)
        response.headers["location"] = f"/orders/{len(works.done)}"
        return {"number": len(works.done), "word": body.get("word")}

    @router.post("/refusals")
    async def refuse(request: Request) -> None:
        works.done.append(await request.json())
        raise DomainError("sold_out", 409, "None is left.", number=len(works.done))

    @router.post("/busy")
    async def busy() -> None:
        works.done.append("busy")
        raise DomainError("busy", 503, "Come again.")

    return router


@pytest.fixture
async def shop(pg: PostgresServer) -> AsyncIterator[Shop]:
    created = pg.create("billing")
    works = Works()
    works.gate.set()
    database = Database(created.app, pool_size=4)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with database:
            yield

    settings = Settings(mode="local", database_url="unused", kafka_bootstrap="unused", internal_secret=SECRET)
    app = create_app(
        settings,
        title="Shop",
        routers=[routes(works)],
        lifespan=lifespan,
        middleware=[Middleware(Idempotency, database=database)],
    )
    async with served(app) as url:
        yield Shop(url, works, created)


async def test_the_same_again_gets_the_first_answer_and_happens_once(shop: Shop) -> None:
    first, second = [await shop.post({"word": "Grüße"}, "k1") for _ in range(2)]
    assert (first.status, json.loads(first.text)) == (201, {"number": 1, "word": "Grüße"})
    assert (second.status, second.text) == (first.status, first.text)
    for header in ("content-type", "location", "x-content-type-options", "cache-control"):
        assert second.headers.getall(header) == first.headers.getall(header)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert len(shop.works.done) == 1


async def test_an_answer_is_kept_before_it_is_sent(shop: Shop) -> None:
    """Else who has it and asks again at once is told that the first request is still running."""
    shop.works.gate.clear()
    first = asyncio.create_task(shop.post({}, "k1"))
    await shop.works.begun.acquire()
    holder = await asyncpg.connect(shop.database.superuser)
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM idempotency_key FOR UPDATE")
            shop.works.gate.set()
            done, _ = await asyncio.wait([first], timeout=0.5)
            assert shop.works.done
            assert not done
    finally:
        await holder.close()
    assert (await first).status == 201
    assert (await shop.post({}, "k1")).headers["idempotent-replayed"] == "true"


async def test_without_a_key_each_counts(shop: Shop) -> None:
    answers = [await shop.post({}, None) for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 201]
    assert len(shop.works.done) == 2
    assert await shop.kept() == 0


async def test_another_body_under_the_same_key_is_refused(shop: Shop) -> None:
    await shop.post({"word": "one"}, "k1")
    other = await shop.post({"word": "two"}, "k1")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert other.headers["content-type"] == "application/problem+json"
    assert shop.works.done == [{"word": "one"}]


async def test_of_two_at_once_one_works_and_the_other_is_told_to_wait(shop: Shop) -> None:
    shop.works.gate.clear()
    first = asyncio.create_task(shop.post({}, "k1"))
    await shop.works.begun.acquire()
    second = await shop.post({}, "k1")
    assert (second.status, second.code) == (409, "idempotency_in_progress")
    different = await shop.post({"word": "other"}, "k1")
    assert (different.status, different.code) == (422, "idempotency_key_reused")
    shop.works.gate.set()
    assert (await first).status == 201
    assert (await shop.post({}, "k1")).text == (await first).text
    assert len(shop.works.done) == 1


async def test_of_twenty_at_once_one_works(shop: Shop) -> None:
    answers = await asyncio.gather(*(shop.post({"word": "x"}, "k1") for _ in range(20)))
    assert {answer.status for answer in answers} <= {201, 409}
    assert len(shop.works.done) == 1


async def test_another_tenant_user_or_address_has_keys_of_its_own(shop: Shop) -> None:
    first = await shop.post({"word": "mine"}, "k1")
    others = [
        await shop.post({"word": "mine"}, "k1", tenant=uuid4()),
        await shop.post({"word": "theirs"}, "k1", tenant=uuid4()),
        await shop.post({"word": "mine"}, "k1", user=uuid4()),
        await shop.post({"word": "mine"}, "k1", path="/returns"),
    ]
    assert [answer.status for answer in (first, *others)] == [201] * 5
    assert [json.loads(answer.text)["number"] for answer in (first, *others)] == [1, 2, 3, 4, 5]
    assert not any("idempotent-replayed" in answer.headers for answer in others)


async def test_a_refusal_is_an_answer_as_well(shop: Shop) -> None:
    first, second = [await shop.post({}, "k1", path="/refusals") for _ in range(2)]
    assert (first.status, first.code) == (409, "sold_out")
    assert (second.status, second.text) == (first.status, first.text)
    assert len(shop.works.done) == 1


async def test_a_crash_is_not_kept(shop: Shop) -> None:
    shop.works.crashes = 1
    assert (await shop.post({}, "k1")).status == 500
    again = await shop.post({}, "k1")
    assert again.status == 201
    assert "idempotent-replayed" not in again.headers
    assert len(shop.works.done) == 1


async def test_a_failure_on_our_side_is_not_kept(shop: Shop) -> None:
    answers = [await shop.post({}, "k1", path="/busy") for _ in range(2)]
    assert [answer.code for answer in answers] == ["busy", "busy"]
    assert len(shop.works.done) == 2
    assert await shop.kept() == 0


async def test_what_a_dead_process_began_may_be_taken_over_after_a_minute_by_the_same_request(shop: Shop) -> None:
    await shop.post({"word": "one"}, "k1")
    await query(shop.database.superuser, "UPDATE idempotency_key SET status = NULL")
    await shop.age("59 seconds")
    assert (await shop.post({"word": "one"}, "k1")).code == "idempotency_in_progress"
    await shop.age("61 seconds")
    assert (await shop.post({"word": "two"}, "k1")).code == "idempotency_key_reused"
    assert (await shop.post({"word": "one"}, "k1")).status == 201
    assert shop.works.done == [{"word": "one"}] * 2


async def test_after_a_day_a_key_is_new(shop: Shop) -> None:
    await shop.post({"word": "one"}, "k1")
    await shop.age("23 hours")
    assert (await shop.post({"word": "two"}, "k1")).code == "idempotency_key_reused"
    await shop.age("25 hours")
    assert (await shop.post({"word": "two"}, "k1")).status == 201


async def test_the_sweep_forgets_what_is_older_than_a_day(shop: Shop) -> None:
    await shop.post({}, "k1")
    await shop.age("25 hours")
    await shop.post({}, "k2")
    async with Database(shop.database.worker) as database:
        await sweep(database)
    rows = await query(shop.database.superuser, "SELECT key FROM idempotency_key")
    assert [row["key"] for row in rows] == ["k2"]


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_has_1_to_255_characters(shop: Shop, key: str) -> None:
    answer = await shop.post({}, key)
    assert (answer.status, answer.code) == (422, "invalid_idempotency_key")
    assert shop.works.done == []
    assert (await shop.post({}, "k" * 255)).status == 201


async def test_a_body_too_large_is_not_kept(shop: Shop) -> None:
    answer = await shop.post(b'"' + b"x" * MAX_BODY, "k1")
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert await shop.kept() == 0


async def test_half_a_request_is_none(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Its client hung up: the whole one, sent later under the same key, is the first."""
    token = sign(
        Principal(kind="user", user_id=UUID(int=1), tenant_id=shop.tenant),
        secret=SECRET,
        audience="sample",
        issuer="gateway",
    )
    head = (
        "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nidempotency-key: k1\r\n"
        f"stowage-internal: {token}\r\ncontent-length: 15\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", int(shop.url.rpartition(":")[2]))
    writer.write(head.encode() + b'{"word"')
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.3)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    whole = await shop.post(b'{"word": "one"}', "k1")
    assert (whole.status, shop.works.done) == (201, [{"word": "one"}])
