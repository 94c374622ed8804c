"""Uploads in pieces through the door, as browsers and programs send them."""

import asyncio
import os
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from deploy.local.demo.client import Person
from tests.fixtures.stack import Stack, person

PATH = "/api/storage/uploads"
BYTES = {"Content-Type": "application/offset+octet-stream"}
SAID = {"Upload-Metadata": "filename YS5iaW4=,category ZG9jdW1lbnRz"}
MIB = 1024 * 1024


async def ask(who: Person, method: str, url: str, data: Any = None, **said: str) -> tuple[int, Any]:
    """Status and headers."""
    headers = {"Authorization": f"Bearer {who.token}", "Tus-Resumable": "1.0.0", **said}
    async with who._session.request(method, url, data=data, headers=headers) as answer:
        await answer.read()
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        return answer.status, answer.headers


async def test_every_method_and_header_passes(stack: Stack, http: aiohttp.ClientSession) -> None:
    async with http.options(stack.url + PATH) as answer:
        assert (answer.status, answer.headers["Tus-Version"]) == (204, "1.0.0")
    ada, content = await person(stack, http), os.urandom(3 * MIB)
    status, told = await ask(ada, "POST", stack.url + PATH, **SAID, **{"Upload-Length": str(len(content))})
    assert status == 201
    url = told["Location"]
    assert url.startswith(f"{stack.url}{PATH}/")
    for start in range(0, len(content), MIB):
        override = {"X-HTTP-Method-Override": "PATCH"} if start == MIB else {}
        sizes = {"Upload-Offset": str(start)}
        method = "POST" if override else "PATCH"
        status, told = await ask(ada, method, url, content[start : start + MIB], **BYTES, **sizes, **override)
        assert (status, told["Upload-Offset"]) == (204, str(start + MIB))
    status, head = await ask(ada, "HEAD", url)
    assert (status, head["Upload-Length"], head["Upload-Metadata"]) == (200, str(len(content)), SAID["Upload-Metadata"])
    file = told["X-File-Id"]
    headers = {"Authorization": f"Bearer {ada.token}"}
    async with http.get(f"{stack.url}/api/storage/files/{file}/content", headers=headers) as answer:
        assert await answer.read() == content


async def test_a_refusal_reaches_a_client_that_is_still_sending(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await person(stack, http)
    _, told = await ask(ada, "POST", stack.url + PATH, **SAID, **{"Upload-Length": str(64 * MIB)})
    where = urlsplit(told["Location"])
    for offset, chunked in ((5, False), (0, True)):
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {32 * MIB}"
        lines = [
            f"PATCH {where.path} HTTP/1.1",
            f"Host: {where.netloc}",
            f"Authorization: Bearer {ada.token}",
            "Tus-Resumable: 1.0.0",
            f"Content-Type: {BYTES['Content-Type']}",
            f"Upload-Offset: {offset}",
            framing,
        ]
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        sending = asyncio.create_task(_send(writer, chunked=chunked))
        async with asyncio.timeout(20):
            status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
        assert status == (413 if chunked else 409)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()


async def test_a_cookie_alone_writes_nothing(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await person(stack, http)
    headers = {"Cookie": f"stowage_access={ada.token}", "Tus-Resumable": "1.0.0", "Upload-Length": "1", **SAID}
    async with http.post(stack.url + PATH, headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (403, "csrf_failed")


async def _send(writer: asyncio.StreamWriter, *, chunked: bool) -> None:
    """More than was announced, for as long as somebody takes it."""
    piece = os.urandom(MIB)
    frame = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
    for _ in range(96 if chunked else 32):
        writer.write(frame)
        await writer.drain()
