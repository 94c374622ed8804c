"""Bodies that go past the parser, and past the event loop: every byte once, and the connection as good as before."""

import asyncio
import contextlib
import hashlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import APIRouter, Request

from deploy.local.ports import free_port
from shared.http import UNLIMITED_BODY, Arrived, Body, ClientGone, create_app
from shared.http.large import LARGE
from shared.http.server import server_for
from tests.shared.http.test_server import connected, settings

router = APIRouter()
seen: list[str] = []


@router.put("/received", max_body_size=UNLIMITED_BODY)
async def received(request: Request) -> dict[str, str]:
    digest = hashlib.sha256()
    async for piece in Body(request):
        digest.update(piece)
    return {"sha256": digest.hexdigest()}


@router.put("/drained", max_body_size=UNLIMITED_BODY)
async def drained(request: Request) -> dict[str, str | int]:
    digest, body, past = hashlib.sha256(), Body(request), 0
    buffer = memoryview(bytearray(300_000))

    async def take(arrived: Arrived, most: int) -> int:
        size = await asyncio.to_thread(arrived.read, buffer[:most])
        digest.update(buffer[:size])
        return size

    try:
        async for piece in body:
            digest.update(piece)
            past += await body.drain(len(buffer), take)
    except ClientGone:
        seen.append("gone")
        raise
    return {"sha256": digest.hexdigest(), "past": past}


@router.put("/refused", max_body_size=UNLIMITED_BODY)
async def refused() -> dict[str, str]:
    return {"sha256": "unread"}


@router.put("/broken", max_body_size=UNLIMITED_BODY)
async def broken(request: Request) -> None:
    body = Body(request)

    async def take(arrived: Arrived, most: int) -> int:
        await asyncio.to_thread(arrived.read, memoryview(bytearray(min(most, 10_000))))
        raise OSError("the disk is full")

    async for _ in body:
        await body.drain(2**30, take)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    found = free_port()
    app = create_app(settings(found), title="Large", routers=[router], public=True)
    server = server_for(app, settings(found))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield found
    server.should_exit = True
    await serving


def put(path: str, body: bytes, *more: str) -> bytes:
    lines = [f"PUT {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def said(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize("path", ["/received", "/drained"])
@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 65_536, 700_001, 5_000_000])
async def test_every_byte_and_then_the_next_request(port: int, path: str, size: int) -> None:
    body = os.urandom(size)
    async with connected(port) as talk:
        for _ in range(2):
            await talk.say(put(path, body))
            status, answer = await talk.answer()
            assert status == 200
            assert said(body) in answer
        await talk.say(put("/received", b"small"))
        assert said(b"small") in (await talk.answer())[1]


async def test_what_waits_is_drained(port: int) -> None:
    async with connected(port) as talk:
        await talk.say(put("/drained", bytes(8_000_000)))
        assert b'"past":0' not in (await talk.answer())[1]


@pytest.mark.parametrize("path", ["/received", "/drained"])
async def test_requests_sent_at_once_stay_apart(port: int, path: str) -> None:
    bodies = [os.urandom(size) for size in (900_000, 10, 800_000, 1_200_000)]
    async with connected(port) as talk:
        saying = asyncio.create_task(talk.say(b"".join(put(path, body) for body in bodies)))
        for body in bodies:
            assert said(body) in (await talk.answer())[1]
        await saying


@pytest.mark.parametrize("path", ["/received", "/drained"])
async def test_in_pieces_of_any_size(port: int, path: str) -> None:
    body, dice = os.urandom(1_500_000), random.Random(4)
    whole = put(path, body)
    async with connected(port) as talk:
        start = 0
        while start < len(whole):
            size = dice.choice([1, 17, 5_000, 60_000, 300_000])
            await talk.say(whole[start : start + size])
            start += size
            await asyncio.sleep(dice.choice([0, 0, 0.001, 0.005]))
        assert said(body) in (await talk.answer())[1]


async def test_asked_for_by_100_continue(port: int) -> None:
    body = os.urandom(2_000_000)
    head = put("/drained", body, "Expect: 100-continue")[: -len(body)]
    async with connected(port) as talk:
        await talk.say(head)
        assert await talk.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await talk.say(body)
        assert said(body) in (await talk.answer())[1]


async def test_a_client_that_hangs_up_is_noticed(port: int) -> None:
    seen.clear()
    async with connected(port) as talk:
        await talk.say(put("/drained", bytes(3_000_000))[:1_000_000])
        await asyncio.sleep(0.2)
    async with asyncio.timeout(5):
        while seen != ["gone"]:
            await asyncio.sleep(0.01)


async def test_an_answer_before_the_body_ends(port: int) -> None:
    """The rest is passed over, and the connection ends with it."""
    async with connected(port) as talk:
        whole = put("/refused", bytes(4_000_000))
        await talk.say(whole[:700_000])
        assert (await talk.answer())[0] == 200
        await talk.say(whole[700_000:])
        assert await talk.rest() == b""


async def test_a_taker_that_fails_ends_the_connection(port: int) -> None:
    """Nobody knows how much of the body it took: what follows must not be read as a request."""
    async with connected(port) as talk:
        with contextlib.suppress(ConnectionError):
            await talk.say(put("/broken", bytes(4_000_000)) + put("/received", b"next"))
        heard = b""
        with contextlib.suppress(ConnectionError):  # what it says may be lost with what it did not read
            heard = await talk.rest()
        assert heard.count(b"HTTP/1.1 ") <= 1
        assert said(b"next") not in heard


async def test_descriptors_are_given_back(port: int) -> None:
    before = open_files()
    for _ in range(20):
        async with connected(port) as talk:
            await talk.say(put("/drained", bytes(1_000_000)))
            await talk.answer()
    await asyncio.sleep(0.1)
    assert open_files() <= before + 2


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
