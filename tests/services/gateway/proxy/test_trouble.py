"""What each side does when the other fails."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from starlette.types import Receive, Send

from tests.fixtures.postgres import ServiceDatabase
from tests.services.gateway.harness import Gateway, Seen, running_gateway
from tests.services.gateway.proxy.raw import Exchange, post, raw_client, raw_upstream


async def test_unreachable_service_is_502(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with running_gateway(gateway_db, tmp_path, upstream="http://127.0.0.1:9") as gateway:
        person = await gateway.sign_up()
        async with gateway.http.get(f"{gateway.url}/api/storage/quota", headers=person.bearer) as answer:
            problem = await answer.json()
            assert (answer.status, answer.content_type) == (502, "application/problem+json")
            assert problem["code"] == "service_unreachable"


async def test_silent_service_is_504(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with running_gateway(gateway_db, tmp_path, answer_seconds=0.2) as gateway:
        gone = asyncio.Event()

        async def silent(_seen: Seen, receive: Receive, _send: Send) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        gateway.stub.answers["/api/usage/summary"] = silent
        person = await gateway.sign_up()
        status, problem = await gateway.call("GET", "/api/usage/summary", headers=person.bearer)
        assert (status, problem["code"]) == (504, "service_timeout")
        async with asyncio.timeout(10):
            await gone.wait()


async def test_service_that_hangs_up_is_502(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async def hang_up(exchange: Exchange) -> None:
        exchange.writer.close()

    async with (
        raw_upstream(hang_up) as upstream,
        running_gateway(gateway_db, tmp_path, upstream=f"http://127.0.0.1:{upstream.port}") as gateway,
    ):
        person = await gateway.sign_up()
        assert (await gateway.call("GET", "/api/storage/quota", headers=person.bearer))[0] == 502


async def test_nonsense_from_the_service_is_502(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async def babble(exchange: Exchange) -> None:
        await exchange.say(b"SSH-2.0-nope\r\n\r\n")

    async with (
        raw_upstream(babble) as upstream,
        running_gateway(gateway_db, tmp_path, upstream=f"http://127.0.0.1:{upstream.port}") as gateway,
    ):
        person = await gateway.sign_up()
        assert (await gateway.call("GET", "/api/storage/quota", headers=person.bearer))[0] == 502


async def test_kept_connection_that_died_is_replaced(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    answered = 0

    async def once(exchange: Exchange) -> None:
        nonlocal answered
        answered += 1
        if answered == 2:  # the second request of the first connection meets a closing server
            exchange.writer.transport.abort()
            return
        await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with (
        raw_upstream(once) as upstream,
        running_gateway(gateway_db, tmp_path, upstream=f"http://127.0.0.1:{upstream.port}") as gateway,
    ):
        person = await gateway.sign_up()
        for _ in range(2):
            assert (await gateway.call("GET", "/api/storage/quota", headers=person.bearer))[0] == 200
        assert upstream.connections == 2


async def test_cut_off_answer_is_seen_as_cut_off(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")
        exchange.writer.transport.abort()

    async with (
        raw_upstream(half) as upstream,
        running_gateway(gateway_db, tmp_path, upstream=f"http://127.0.0.1:{upstream.port}") as gateway,
    ):
        person = await gateway.sign_up()
        with pytest.raises(aiohttp.ClientPayloadError):
            await gateway.call("GET", "/api/storage/quota", headers=person.bearer)


async def test_leaving_client_ends_the_upload_at_once(gateway: Gateway) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def watch(_seen: Seen, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            begun.set()
        gone.set()

    gateway.stub.answers["/api/storage/upload"] = watch
    person = await gateway.sign_up()
    async with raw_client(gateway.port) as client:
        await client.send(post(person.access, 1 << 20) + bytes(1000))
        async with asyncio.timeout(10):
            await begun.wait()
        client.writer.transport.abort()
        async with asyncio.timeout(10):
            await gone.wait()


async def test_leaving_client_ends_the_download_at_once(gateway: Gateway) -> None:
    gone = asyncio.Event()

    async def endless(_seen: Seen, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        gone.set()

    gateway.stub.answers["/api/storage/files/1/content"] = endless
    person = await gateway.sign_up()
    async with gateway.http.get(f"{gateway.url}/api/storage/files/1/content", headers=person.bearer) as answer:
        assert await answer.content.readany() == b"x"
        answer.close()
    async with asyncio.timeout(10):
        await gone.wait()


async def test_client_that_stalls_is_408(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with running_gateway(gateway_db, tmp_path, client_seconds=0.2) as gateway:
        person = await gateway.sign_up()
        async with raw_client(gateway.port) as client:
            await client.send(post(person.access, 1 << 20) + bytes(1000))
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 408")
            assert b"connection: close" in head


async def test_stalled_body_of_an_own_route_ends_too(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with running_gateway(gateway_db, tmp_path, client_seconds=0.2) as gateway, raw_client(gateway.port) as client:
        head = post("none", 100, "content-type: application/json", path="/api/auth/login")
        await client.send(head + b'{"email":')
        assert int((await client.head()).split()[1]) in (400, 408)


async def test_two_lengths_are_refused(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    for line in ("content-length: 6", "transfer-encoding: chunked"):
        async with raw_client(gateway.port) as client:
            await client.send(post(person.access, 5, line) + b"hello")
            assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert gateway.stub.seen == []
