"""Large bodies are moved inside the system: whole, in order, at the service's pace, and counted by nobody twice."""

import asyncio
import hashlib
import io
import os
from collections.abc import Callable

import pytest
from starlette.types import Receive, Send

from services.gateway.proxy.splice import Splicer
from tests.services.gateway.harness import Gateway, Seen, answer_json
from tests.services.gateway.proxy.raw import raw_client

SIZE = 24 * 1024 * 1024


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of every move."""
    found: list[int] = []
    move = Splicer.move

    async def noted(self: Splicer, *told: object, **named: object) -> int:
        found.append(await move(self, *told, **named))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(Splicer, "move", noted)
    return found


def hashing(pause: Callable[[int], float]) -> Callable[[Seen, Receive, Send], object]:
    """A service that stops for so many seconds after the bytes it has."""

    async def answer(_seen: Seen, receive: Receive, send: Send) -> None:
        digest, size, more = hashlib.sha256(), 0, True
        while more:
            message = await receive()
            digest.update(message.get("body", b""))
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            await asyncio.sleep(pause(size))
        await answer_json(send, 200, b'{"sha256": "%b", "size": %d}' % (digest.hexdigest().encode(), size))

    return answer


@pytest.mark.parametrize("pause", [lambda _: 0, lambda size: 0.05 if size % 3 == 0 else 0], ids=["quick", "halting"])
async def test_a_large_body_arrives_as_it_was(
    gateway: Gateway, moved: list[int], pause: Callable[[int], float]
) -> None:
    gateway.stub.answers["/api/storage/content/documents/a"] = hashing(pause)  # type: ignore[assignment]
    person = await gateway.sign_up()
    body = os.urandom(SIZE)
    for _ in range(2):  # the connection upstream lives on
        status, said = await gateway.call(
            "PUT",
            "/api/storage/content/documents/a",
            headers=person.bearer | {"Expect": "100-continue"},
            data=io.BytesIO(body),
        )
        assert (status, said) == (200, {"sha256": hashlib.sha256(body).hexdigest(), "size": SIZE})
    assert sum(moved) > SIZE, "most of both went the short way"


async def test_in_pieces_as_a_network_brings_them(gateway: Gateway) -> None:
    gateway.stub.answers["/api/storage/content/documents/a"] = hashing(lambda _: 0)  # type: ignore[assignment]
    person = await gateway.sign_up()
    body = os.urandom(3_000_000)
    async with raw_client(gateway.port) as client:
        head = f"PUT /api/storage/content/documents/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {person.access}\r\n"
        await client.send(f"{head}content-length: {len(body)}\r\n\r\n".encode())
        for start in range(0, len(body), 90_000):
            await client.send(body[start : start + 90_000])
            await asyncio.sleep(0.004)
        async with asyncio.timeout(10):
            answer = await client.reader.readuntil(b"}")
    assert hashlib.sha256(body).hexdigest().encode() in answer


async def test_a_client_that_leaves_in_the_middle_is_noticed_at_once(gateway: Gateway) -> None:
    left = asyncio.Event()

    async def reads(_seen: Seen, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    gateway.stub.answers["/api/storage/content/documents/a"] = reads
    person = await gateway.sign_up()
    async with raw_client(gateway.port) as client:
        head = f"PUT /api/storage/content/documents/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {person.access}\r\n"
        await client.send(f"{head}content-length: {SIZE}\r\n\r\n".encode() + bytes(SIZE // 2))
        client.writer.transport.abort()
    async with asyncio.timeout(5):
        await left.wait()


async def test_a_refusal_in_the_middle_reaches_the_client(gateway: Gateway) -> None:
    async def refuses(_seen: Seen, receive: Receive, send: Send) -> None:
        size = 0
        while size < SIZE // 4:
            size += len((await receive())["body"])
        await answer_json(send, 413, b'{"code": "file_too_large"}', (b"connection", b"close"))

    gateway.stub.answers["/api/storage/content/documents/a"] = refuses
    person = await gateway.sign_up()
    async with raw_client(gateway.port) as client:
        head = f"PUT /api/storage/content/documents/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {person.access}\r\n"
        await client.send(f"{head}content-length: {SIZE}\r\n\r\n".encode())
        sending = asyncio.create_task(client.send(bytes(SIZE)))
        async with asyncio.timeout(10):
            answer = await client.reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413")
        sending.cancel()
