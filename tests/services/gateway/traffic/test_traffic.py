"""Bytes of bodies, counted at the door and written to the outbox: exactly, and for whom they are."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from starlette.types import Receive, Send

from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.gateway.harness import Answer, Gateway, Seen, answer_json, read_all, running_gateway
from tests.services.gateway.proxy.raw import raw_client

Counted = dict[tuple[str, str | None], tuple[int, int, int]]

LARGE = 6 * 1024 * 1024
BLOCK = bytes(256 * 1024)
FILE = "/api/storage/files/{}/content"


async def written(database: ServiceDatabase) -> Counted:
    """(tenant, project): (in, out, requests), summed over all events."""
    sums: dict[tuple[str, str | None], list[int]] = {}
    for row in await query(database.superuser, "SELECT body FROM outbox_event WHERE topic = 'traffic.v1'"):
        event = orjson.loads(row["body"])
        assert event["since"] < event["until"]
        for item in event["items"]:
            held = sums.setdefault((event["tenant_id"], item["project_id"]), [0, 0, 0])
            for place, name in enumerate(("bytes_in", "bytes_out", "requests")):
                held[place] += item[name]
    return {key: (held[0], held[1], held[2]) for key, held in sums.items()}


@asynccontextmanager
async def counting(database: ServiceDatabase, folder: Path, **changes: Any) -> AsyncIterator[Gateway]:
    """Nothing is written before its end, unless said otherwise."""
    async with running_gateway(database, folder, **({"traffic_seconds": 3600} | changes)) as gateway:
        yield gateway


def answering(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    async def answer(_seen: Seen, receive: Receive, send: Send) -> None:
        await read_all(receive)
        await answer_json(send, status, body, *headers)

    return answer


def of(project: UUID | str, tenant: str) -> list[tuple[bytes, bytes]]:
    return [(b"stowage-tenant", tenant.encode()), (b"stowage-project", str(project).encode())]


async def test_every_byte_of_a_body_and_none_of_anything_else(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(10_000)

    # What is sent, what is answered, and the bytes in and out of it.
    wanted: list[tuple[str, dict[str, Any], tuple[int, bytes], tuple[int, int]]] = [
        ("GET", {}, (200, bytes(300_001)), (0, 300_001)),
        ("GET", {"headers": {"range": "bytes=0-9"}}, (206, b"0123456789"), (0, 10)),
        ("HEAD", {}, (200, b"0123456789"), (0, 0)),
        ("GET", {}, (304, b""), (0, 0)),
        ("PUT", {"data": b"small"}, (201, b"{}"), (5, 2)),
        ("PUT", {"data": io.BytesIO(bytes(LARGE)), "headers": {"expect": "100-continue"}}, (201, b"{}"), (LARGE, 2)),
        ("PUT", {"data": io.BytesIO(bytes(LARGE))}, (200, b"{}"), (LARGE, 2)),
        ("PUT", {"data": chunks()}, (201, b"{}"), (400_000, 2)),
    ]
    async with counting(gateway_db, tmp_path) as gateway:
        person = await gateway.sign_up()
        expected: Counted = {}
        for method, options, (status, body), (bytes_in, bytes_out) in wanted:
            project, tenant = uuid4(), person.tenant["id"]
            gateway.stub.answers[FILE.format(project)] = answering(status, body, *of(project, tenant))
            headers = person.bearer | options.pop("headers", {})
            async with gateway.http.request(
                method, gateway.url + FILE.format(project), headers=headers, **options
            ) as answer:
                await answer.read()
                assert answer.status == status
                assert not [name for name in answer.headers if name.lower().startswith("stowage-")]
            expected[tenant, str(project)] = (bytes_in, bytes_out, 1)
        assert await written(gateway_db) == {}
    assert await written(gateway_db) == expected


async def test_a_client_that_leaves_has_what_it_took(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    given, left = 0, asyncio.Event()

    async def endless(_seen: Seen, _receive: Receive, send: Send) -> None:
        nonlocal given
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while not left.is_set() and given < 256 << 20:
                await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
                given += len(BLOCK)
        finally:
            left.set()

    async with counting(gateway_db, tmp_path, traffic_seconds=0.05) as gateway:
        gateway.stub.answers[FILE.format(1)] = endless
        person = await gateway.sign_up()
        async with raw_client(gateway.port) as client:
            head = f"GET {FILE.format(1)} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {person.access}\r\n\r\n"
            await client.send(head.encode())
            await client.reader.readuntil(b"\r\n\r\n")
            read = len(await client.reader.readexactly(3_000_000))
            client.writer.transport.abort()
        while not (counted := await written(gateway_db)) or counted[person.tenant["id"], None][2] == 0:
            await asyncio.sleep(0.02)
        left.set()
    bytes_in, bytes_out, requests = counted[person.tenant["id"], None]
    assert (bytes_in, requests) == (0, 1)
    assert read <= bytes_out <= given + len(BLOCK)


async def test_an_upload_broken_off_brought_what_had_come(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    seen: dict[str, int] = {"bytes": 0}
    gone = asyncio.Event()

    async def reads(_seen: Seen, receive: Receive, _send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            seen["bytes"] += len(message["body"])
        gone.set()

    async with counting(gateway_db, tmp_path) as gateway:
        gateway.stub.answers[FILE.format(1)] = reads
        person = await gateway.sign_up()
        async with raw_client(gateway.port) as client:
            head = f"PUT {FILE.format(1)} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {person.access}\r\n"
            await client.send(f"{head}content-length: {2 * LARGE}\r\n\r\n".encode() + bytes(LARGE))
            client.writer.close()
        await asyncio.wait_for(gone.wait(), 5)
    bytes_in, bytes_out, requests = (await written(gateway_db))[person.tenant["id"], None]
    assert (bytes_out, requests) == (0, 1)
    assert seen["bytes"] <= bytes_in <= LARGE


async def test_a_link_is_its_tenants_and_only_a_service_may_say_so(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with counting(gateway_db, tmp_path) as gateway:
        owner, visitor = await gateway.sign_up("Harbour"), await gateway.sign_up("Lighthouse")
        project = str(uuid4())
        signed, silent = "/api/storage/signed/t/f", "/api/storage/signed/t/g"
        gateway.stub.answers[signed] = answering(200, bytes(1000), *of(project, owner.tenant["id"]))
        gateway.stub.answers[silent] = answering(200, bytes(1000))
        forged = {"stowage-tenant": owner.tenant["id"], "stowage-project": str(uuid4())}
        for path, headers in (
            (signed, {}),
            (signed, visitor.bearer),  # somebody with an account follows it, too
            (silent, forged),
            ("/api/storage/quota", visitor.bearer | forged),
        ):
            async with gateway.http.get(gateway.url + path, headers=headers) as answer:
                await answer.read()
                assert not [name for name in answer.headers if name.lower().startswith("stowage-")]
        assert not any(seen.values("stowage-tenant") for seen in gateway.stub.seen)
    assert await written(gateway_db) == {
        (owner.tenant["id"], project): (0, 2000, 2),
        (visitor.tenant["id"], None): (0, len(b'{"bytes": 0}'), 1),
    }


async def test_refusals_and_the_gateways_own_answers_count(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with counting(gateway_db, tmp_path) as gateway:
        one, two = await gateway.sign_up(), await gateway.sign_up()
        sizes = []
        for path in ("/api/projects-that-are-not", "/api/notifications", "/api/me"):
            async with gateway.http.get(gateway.url + path, headers=one.bearer) as answer:
                sizes.append(len(await answer.read()))
        await gateway.call("GET", "/api/storage/quota")  # nobody's
        await gateway.call("GET", "/healthz")
        await gateway.call("POST", "/api/storage/upload", headers=two.bearer, data=b"abc")
    assert await written(gateway_db) == {
        (one.tenant["id"], None): (0, sum(sizes), 3),
        (two.tenant["id"], None): (3, len(b'{"bytes": 3}'), 1),
    }


async def test_what_takes_long_is_counted_on_its_way(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slowly(_seen: Seen, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"second"})

    async with counting(gateway_db, tmp_path, traffic_seconds=0.05) as gateway:
        gateway.stub.answers[FILE.format(1)] = slowly
        person = await gateway.sign_up()
        async with gateway.http.get(gateway.url + FILE.format(1), headers=person.bearer) as answer:
            async with asyncio.timeout(5):
                while not (counted := await written(gateway_db)):
                    await asyncio.sleep(0.02)
            assert counted == {(person.tenant["id"], None): (0, 5, 0)}
            go_on.set()
            await answer.read()
    assert await written(gateway_db) == {(person.tenant["id"], None): (0, 11, 1)}


async def test_a_database_that_is_away_loses_nothing(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    name = gateway_db.app.rpartition("/")[2]
    admin = gateway_db.superuser.rpartition("/")[0] + "/postgres"
    async with counting(gateway_db, tmp_path, traffic_seconds=0.05) as gateway:
        person = await gateway.sign_up()
        call = ("POST", "/api/storage/upload")
        await gateway.call(*call, headers=person.bearer, data=b"abc")
        await query(admin, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await query(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        for _ in range(20):  # recognised from memory
            assert (await gateway.call(*call, headers=person.bearer, data=b"abc"))[0] == 200
            await asyncio.sleep(0.01)
        await query(admin, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    size = len(b'{"bytes": 3}')
    assert await written(gateway_db) == {(person.tenant["id"], None): (63, 21 * size, 21)}


@pytest.mark.parametrize("body", [b"not json", b""])
async def test_a_page_counts_what_the_browser_gets(gateway_db: ServiceDatabase, tmp_path: Path, body: bytes) -> None:
    """A form's answer is replaced by a redirect: the service's own never goes out."""
    async with counting(gateway_db, tmp_path) as gateway:
        person = await gateway.sign_up()
        gateway.stub.answers["/api/storage/upload"] = answering(201, body)
        async with gateway.http.get(f"{gateway.url}/app", headers=person.bearer, allow_redirects=False) as answer:
            size = len(await answer.read())
    assert (await written(gateway_db)).get((person.tenant["id"], None)) == (0, size, 1)
