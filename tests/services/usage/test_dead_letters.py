"""From a record that cannot be counted to the counters put right: the worker over a real wire, the API over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from services.usage.main import create
from services.usage.settings import Settings
from services.usage.worker import build
from shared.db import Database
from shared.http.server import server_for
from shared.kafka.dead_letters import DeadLetters, Failed
from shared.kafka.publisher import Publisher
from shared.kafka.records import Record
from shared.security import Principal, sign
from tests.fixtures.broker import EmbeddedBroker
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.fakes import FakeBilling, FakeLedger
from tests.services.usage.neighbours import neighbours
from tests.services.usage.samples import KINDS, granted, stored

SECRET = "0123456789abcdef0123456789abcdef"
PATH = "/api/admin/usage/dead-letters"
ADMIN = Principal(kind="user", user_id=UUID(int=1), is_admin=True)
SOMEBODY = Principal(kind="user", user_id=uuid4(), tenant_id=uuid4(), role="owner")


@dataclass(frozen=True)
class Api:
    url: str
    settings: Settings
    dsn: ServiceDatabase
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None, *, who: Principal = ADMIN) -> tuple[int, Any]:
        headers = {"stowage-internal": sign(who, secret=SECRET, audience="usage", issuer="gateway")}
        async with self.http.request(method, self.url + PATH + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def waiting(self, count: int = 1) -> list[Any]:
        """The letters, once there are as many and none of them is about to be replayed."""
        async with asyncio.timeout(20):
            while True:
                items: list[Any] = (await self.call("GET", ""))[1]["items"]
                if len(items) == count and not any(item["replay_requested_at"] for item in items):
                    return items
                await asyncio.sleep(0.05)

    async def counted(self, tenant: UUID) -> tuple[int, int, int]:
        """Position, bytes, files."""
        rows = await query(
            self.dsn.superuser, "SELECT position, bytes, files FROM tenant_usage WHERE tenant_id = $1", tenant
        )
        return tuple(rows[0]) if rows else (0, 0, 0)

    async def until(self, tenant: UUID, counted: tuple[int, int, int]) -> None:
        async with asyncio.timeout(20):
            while await self.counted(tenant) != counted:
                await asyncio.sleep(0.05)

    async def bury(self, *records: Record, left_out: bool = True) -> None:
        """Each in a commit of its own: one after the other."""
        async with Database(self.dsn.worker) as database:
            for record in records:
                failed = Failed.of(record, ZeroDivisionError("once"), left_out=left_out)
                async with database.transaction() as connection:
                    await DeadLetters(database, "usage", "").insert(connection, [failed])


@pytest.fixture
async def api(usage_db: ServiceDatabase) -> AsyncIterator[Api]:
    async with neighbours(FakeBilling(), FakeLedger()) as address, aiohttp.ClientSession() as http:
        settings = Settings(
            mode="local",
            port=0,
            database_url=usage_db.app,
            kafka_bootstrap="",
            internal_secret=SECRET,
            upload_url=address,
            billing_url=address,
            gateway_url=address,
        )
        server = server_for(create(settings), settings)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Api(f"http://127.0.0.1:{port}", settings, usage_db, http)
        server.should_exit = True
        await serving


@pytest.fixture
async def publisher(api: Api, own_broker: EmbeddedBroker) -> AsyncIterator[Publisher]:
    """As upload and billing publish; the worker runs meanwhile."""
    told = {"database_url": api.dsn.worker, "kafka_bootstrap": own_broker.bootstrap}
    async with (
        build(api.settings.model_copy(update=told)) as parts,
        Publisher(own_broker.bootstrap, source="/s") as made,
    ):
        tasks = [asyncio.ensure_future(task()) for task in parts.tasks]
        yield made
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def send(publisher: Publisher, *records: Record) -> None:
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
        await publisher.publish(record.topic, [row])


async def test_short_by_exactly_one_and_put_right_once(api: Api, publisher: Publisher) -> None:
    tenant = uuid4()
    kind, category = KINDS[2]
    await query(
        api.dsn.superuser, f"ALTER TABLE usage_breakdown ADD CONSTRAINT trouble CHECK (category <> '{category}')"
    )
    files = [stored(1, 10, tenant=tenant), stored(2, 70, KINDS[2], tenant=tenant), stored(3, 5, tenant=tenant)]
    await send(publisher, granted(1, 100, tenant=tenant), *files)
    await api.until(tenant, (3, 15, 2))
    (letter,) = await api.waiting()
    assert (letter["topic"], letter["seq"], letter["tenant_id"], letter["type"]) == (
        "files.v1",
        2,
        str(tenant),
        "file.stored",
    )
    assert "trouble" in letter["error"]
    assert (letter["state"], letter["replayable"], letter["attempts"]) == ("waiting", True, 0)

    status, asked = await api.call("POST", f"/{letter['id']}/replay")
    assert (status, asked["replay_requested_by"]) == (202, str(ADMIN.user_id))
    async with asyncio.timeout(20):
        while (letter := (await api.waiting())[0])["attempts"] == 0:
            await asyncio.sleep(0.02)
    assert "trouble" in letter["error"]
    assert await api.counted(tenant) == (3, 15, 2)

    await query(api.dsn.superuser, "ALTER TABLE usage_breakdown DROP CONSTRAINT trouble")
    asked = await asyncio.gather(*(api.call("POST", f"/{letter['id']}/replay") for _ in range(5)))
    assert {status for status, _ in asked} <= {202, 409}
    await api.until(tenant, (3, 85, 3))
    alerts = await query(api.dsn.superuser, "SELECT value FROM alert WHERE tenant_id = $1", tenant)
    assert [alert["value"] for alert in alerts] == [80]
    await send(publisher, *files, stored(4, 1, tenant=tenant))
    await api.until(tenant, (4, 86, 4))
    rows = await query(
        api.dsn.superuser, "SELECT file_count, total_size FROM usage_breakdown WHERE file_type = $1", kind
    )
    assert [tuple(row) for row in rows] == [(1, 70)]
    assert await api.waiting(0) == []
    (done,) = (await api.call("GET", "?state=replayed"))[1]["items"]
    assert (done["id"], done["attempts"], done["resolved_by"]) == (letter["id"], 2, str(ADMIN.user_id))


async def test_listed_newest_first_in_pages_and_by_topic(api: Api) -> None:
    records = [stored(seq, 1, tenant=uuid4()) for seq in range(1, 6)]
    await api.bury(*records, granted(1, 1))
    first = (await api.call("GET", "?topic=files.v1&limit=3"))[1]
    second = (await api.call("GET", f"?topic=files.v1&limit=3&cursor={first['next_cursor']}"))[1]
    assert [item["seq"] for item in first["items"] + second["items"]] == [5, 4, 3, 2, 1]
    assert second["next_cursor"] is None
    assert len((await api.call("GET", ""))[1]["items"]) == 6
    assert [item["topic"] for item in (await api.call("GET", "?topic=entitlements.v1"))[1]["items"]] == [
        "entitlements.v1"
    ]
    assert (await api.call("GET", "?topic=alerts.v1"))[1]["items"] == []
    assert (await api.call("GET", "?state=lost"))[0] == 422
    assert (await api.call("GET", "?cursor=WzFd"))[1]["code"] == "invalid_cursor"


async def test_one_of_them_whole(api: Api) -> None:
    good = stored(1, 10)
    broken = stored(2, 10)
    broken.body = b"\xff\x00{"
    await api.bury(good)
    await api.bury(broken, left_out=False)
    shown = [(await api.call("GET", f"/{item['id']}"))[1] for item in (await api.call("GET", ""))[1]["items"]]
    second, first = shown
    assert (first["encoding"], first["body"]["size"]) == ("json", 10)
    assert (first["key"], first["offset"], first["partition"]) == (str(good.tenant_id), -1, -1)
    assert (second["encoding"], second["body"]) == ("base64", "/wB7")
    status, refused = await api.call("POST", f"/{second['id']}/replay")
    assert (status, refused["code"]) == (409, "not_replayable")
    for path in (f"/{uuid4()}/replay", f"/{uuid4()}/discard"):
        assert (await api.call("POST", path, {"reason": "x"}))[1]["code"] == "dead_letter_not_found"
    assert (await api.call("GET", f"/{uuid4()}"))[0] == 404


async def test_discarded_with_a_reason(api: Api) -> None:
    await api.bury(stored(1, 10))
    letter = (await api.waiting())[0]["id"]
    for reason in ("", "  ", "x" * 501):
        assert (await api.call("POST", f"/{letter}/discard", {"reason": reason}))[0] == 422
    status, gone = await api.call("POST", f"/{letter}/discard", {"reason": "a test's"})
    assert (status, gone["state"], gone["reason"], gone["resolved_by"]) == (
        200,
        "discarded",
        "a test's",
        str(ADMIN.user_id),
    )
    for path, body in (("replay", None), ("discard", {"reason": "again"})):
        status, refused = await api.call("POST", f"/{letter}/{path}", body)
        assert (status, refused["code"], refused["state"]) == (409, "already_resolved", "discarded")
    assert (await api.call("POST", "/replay"))[1] == {"requested": 0, "topic": None}
    assert [item["id"] for item in (await api.call("GET", "?state=discarded"))[1]["items"]] == [letter]


async def test_all_of_a_topic(api: Api) -> None:
    await api.bury(stored(1, 1), stored(2, 1), granted(1, 1))
    assert await api.call("POST", "/replay?topic=files.v1") == (202, {"requested": 2, "topic": "files.v1"})
    assert await api.call("POST", "/replay") == (202, {"requested": 1, "topic": None})
    assert all(item["replay_requested_at"] for item in (await api.call("GET", ""))[1]["items"])


async def test_for_administrators_only(api: Api) -> None:
    one = f"/{uuid4()}"
    for method, path in (
        ("GET", ""),
        ("GET", one),
        ("POST", "/replay"),
        ("POST", f"{one}/replay"),
        ("POST", f"{one}/discard"),
    ):
        body = {"reason": "x"} if path.endswith("discard") else None
        assert (await api.call(method, path, body, who=SOMEBODY))[1]["code"] == "admin_required"
        assert (await api.call(method, path, body, who=Principal()))[0] == 401
