"""Both ends of the gateway on bare sockets, so that every byte is counted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Play = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as it arrived at a raw upstream."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body_bytes: int = 0
    lost: bool = False

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def count_body(self) -> None:
        """Counts what comes until the other side is done or gone."""
        try:
            while data := await self.reader.read(1 << 16):
                self.body_bytes += len(data)
        except OSError:
            pass
        self.lost = True


@dataclass
class RawUpstream:
    port: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    connections: int = 0


@contextlib.asynccontextmanager
async def raw_upstream(play: Play) -> AsyncIterator[RawUpstream]:
    """`play` is called for each head that arrives."""
    upstream = RawUpstream()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                exchange = Exchange(head, reader, writer)
                upstream.exchanges.append(exchange)
                await play(exchange)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()


@dataclass
class RawClient:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Until the gateway closes."""
        async with asyncio.timeout(5):
            return await self.reader.read()


@contextlib.asynccontextmanager
async def raw_client(port: int) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def post(token: str, length: int, *lines: str, path: str = "/api/storage/upload") -> bytes:
    head = [f"POST {path} HTTP/1.1", "host: x", f"authorization: Bearer {token}", f"content-length: {length}", *lines]
    return "\r\n".join([*head, "", ""]).encode()
