"""The server on bare sockets: how long it waits, how much it takes, and how it ends."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from deploy.local.ports import free_port
from shared.http import create_app
from shared.http.server import MAX_HEAD, server_for
from shared.settings import ServiceSettings

SECRET = "0123456789abcdef0123456789abcdef-tests"
ROOT = Path(__file__).parents[3]
GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
DEADLINE = 0.6

PROGRAM = """
import asyncio, os, sys
from fastapi import APIRouter
from shared.http import create_app, serve
from shared.settings import ServiceSettings

router = APIRouter()

@router.get("/slow")
async def slow(seconds: float):
    print("begun", flush=True)
    await asyncio.sleep(seconds)
    return {"done": True}

settings = ServiceSettings(
    mode="local", database_url="unused", kafka_bootstrap="unused",
    internal_secret="0123456789abcdef0123456789abcdef-tests", port=int(sys.argv[1]),
)
serve(lambda s: create_app(s, title="Sample", routers=[router], public=True), settings)
print("ended in order", flush=True)
"""

router = APIRouter()


@router.post("/length")
async def length(request: Request) -> dict[str, int]:
    return {"length": len(await request.body())}


@router.post("/unwanted")
async def unwanted() -> JSONResponse:
    return JSONResponse({"code": "unwanted"}, 403, {"connection": "close"})


class Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
            return int(head.split()[1]), await self._reader.readexactly(length)

    async def interim(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Until the server closes."""
        async with asyncio.timeout(10):
            return await self._reader.read()

    async def ends(self) -> bool:
        """The server closes without a word, gently or not."""
        try:
            return await self.rest() == b""
        except ConnectionResetError:
            return True


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def settings(port: int) -> ServiceSettings:
    return ServiceSettings(
        mode="local", database_url="unused", kafka_bootstrap="unused", internal_secret=SECRET, port=port
    )


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server in the test's loop with less patience than usual."""
    monkeypatch.setattr("shared.http.server.HEADER_DEADLINE", DEADLINE)
    told = settings(free_port())
    server = server_for(create_app(told, title="Sample", routers=[router], public=True), told)
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(15):
        while not server.started:
            await asyncio.sleep(0.01)
    yield told.port
    server.should_exit = True
    await running


@contextlib.asynccontextmanager
async def process() -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A service as it is started, ready to be asked."""
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = asyncio.subprocess.PIPE
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(port), stdout=pipe, stderr=pipe, cwd=ROOT, env=environment
    )
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    async with connected(port):
                        break
                await asyncio.sleep(0.05)
        yield started, port
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def took(closing: Any) -> float:
    since = time.monotonic()
    assert await closing
    return time.monotonic() - since


async def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    async with connected(port) as talk:
        assert DEADLINE / 2 < await took(talk.ends()) < DEADLINE + 1


async def test_a_head_that_never_ends_is_cut_off_though_it_goes_on(port: int) -> None:
    async with connected(port) as talk:

        async def drip() -> None:
            await talk.say(GET)
            while True:
                await talk.say(b"x-more: 1\r\n")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert DEADLINE / 2 < await took(talk.ends()) < DEADLINE + 1
        dripping.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await dripping


async def test_the_second_head_of_a_connection_has_its_deadline_too(port: int) -> None:
    async with connected(port) as talk:
        await talk.say(GET + b"\r\n")
        assert (await talk.answer())[0] == 200
        # Between requests a connection may rest for longer than a head may take.
        await asyncio.sleep(DEADLINE * 1.5)
        await talk.say(GET)
        assert DEADLINE / 2 < await took(talk.ends()) < DEADLINE + 1


async def test_a_body_may_take_longer_than_a_head(port: int) -> None:
    async with connected(port) as talk:
        await talk.say(b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n")
        for _ in range(8):
            await talk.say(b"x")
            await asyncio.sleep(DEADLINE / 4)
        assert await talk.answer() == (200, b'{"length":8}')


async def pieces(talk: Talk, total: int) -> None:
    """`total` bytes of header, as they arrive when they are not sent at once."""
    with contextlib.suppress(OSError):
        await talk.say(GET)
        for _ in range(total // 4096):
            await talk.say(b"x-more: " + b"y" * 4086 + b"\r\n")
            await asyncio.sleep(0.005)


async def test_a_head_too_large_gets_431(port: int) -> None:
    async with connected(port) as talk:
        await pieces(talk, MAX_HEAD + 3 * 4096)
        assert (await talk.answer())[0] == 431
        assert await talk.ends()


async def test_one_endless_header_line_gets_431(port: int) -> None:
    async with connected(port) as talk:
        with contextlib.suppress(OSError):
            await talk.say(GET + b"x-more: ")
            for _ in range(MAX_HEAD // 4096 + 3):
                await talk.say(b"y" * 4096)
                await asyncio.sleep(0.005)
        assert (await talk.answer())[0] == 431


async def test_a_large_head_below_the_limit_is_taken_each_time(port: int) -> None:
    async with connected(port) as talk:
        for _ in range(3):
            await pieces(talk, MAX_HEAD - 2 * 4096)
            await talk.say(b"\r\n")
            assert (await talk.answer())[0] == 200


async def test_a_body_is_not_counted_as_a_head(port: int) -> None:
    size = 4 * MAX_HEAD
    async with connected(port) as talk:
        await talk.say(f"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode())
        for _ in range(size // 4096):
            await talk.say(b"x" * 4096)
            await asyncio.sleep(0)
        assert await talk.answer() == (200, f'{{"length":{size}}}'.encode())


async def test_it_does_not_say_what_it_is(port: int) -> None:
    async with connected(port) as talk:
        await talk.say(GET + b"connection: close\r\n\r\n")
        head = (await talk.rest()).lower().partition(b"\r\n\r\n")[0]
        assert b"\r\nserver:" not in head


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_finishes_what_is_under_way(number: signal.Signals) -> None:
    async with process() as (started, port), connected(port) as talk:
        assert started.stdout is not None
        await talk.say(b"GET /slow?seconds=1.5 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await started.stdout.readline() == b"begun\n"
        started.send_signal(number)
        await asyncio.sleep(0.5)
        # By now it takes nobody new.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await talk.answer() == (200, b'{"done":true}')
        async with asyncio.timeout(5):
            assert await started.stdout.readline() == b"ended in order\n"
            assert await started.wait() == 0


async def test_told_to_stop_it_does_not_wait_for_ever() -> None:
    async with process() as (started, port), connected(port) as talk:
        assert started.stdout is not None
        await talk.say(b"GET /slow?seconds=60 HTTP/1.1\r\nhost: x\r\n\r\n")
        await started.stdout.readline()
        started.send_signal(signal.SIGTERM)
        async with asyncio.timeout(9):
            assert await started.stdout.readline() == b"ended in order\n"
            assert await started.wait() == 0


async def test_a_port_that_is_taken_ends_the_process_with_an_error(port: int) -> None:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(port), stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    async with asyncio.timeout(20):
        _, said = await started.communicate()
    assert started.returncode not in {0, None}
    assert b"address already in use" in said


@pytest.mark.parametrize("length", [1_000, 1_000_000])
async def test_a_refusal_arrives_though_the_body_comes_after_it(port: int, length: int) -> None:
    """The bytes come while the answer is on its way: no reset may overtake it, and the client reads only then."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /unwanted HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length)
        await asyncio.sleep(0.2)  # it has been refused by now
        for _ in range(2):
            await asyncio.to_thread(client.sendall, bytes(length // 2))
            await asyncio.sleep(0.2)
        received = await asyncio.to_thread(client.recv, 65_536)
        assert received.startswith(b"HTTP/1.1 403 ")
        assert received.endswith(b'{"code":"unwanted"}')
        assert await asyncio.to_thread(client.recv, 1) == b""
