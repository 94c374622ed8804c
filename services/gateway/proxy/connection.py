"""One HTTP/1.1 connection to a service, with back-pressure in both directions.

Own code, because the data path asks for three things at once that client libraries do not give together: the body is
asked for only after `100 Continue`, a final answer may come at any moment of it, and chunks pass as they came.
"""

import asyncio
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import cast

import httptools

from services.gateway.proxy.errors import UpstreamTimeout, UpstreamUnreachable

HIGH_WATER = 256 * 1024  # bytes kept for a client that reads slower than the service writes
_BODILESS = frozenset({204, 304})

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Head:
    """Status and headers of a final answer, names in lower case."""

    status: int
    headers: Headers = field(default_factory=list)


class Connection(asyncio.Protocol):
    """Carries one exchange at a time: `begin`, then the body, then `head`, then `read` until it gives b""."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None  # of whoever waits for the service to say something
        self._drained: asyncio.Future[None] | None = None
        self._write_paused = False
        self._read_paused = False
        self._lost = False
        self.idle_since = 0.0
        self._reset(no_body=False)

    def _reset(self, *, no_body: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._no_body = no_body
        self._headers: Headers = []
        self._head: Head | None = None
        self._continued = False
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._complete = False
        self._keep_alive = False
        self._until_close = False
        self._broken = False
        self._answered = False  # any byte came back

    # What the proxy calls

    @property
    def reusable(self) -> bool:
        return self._complete and self._keep_alive and not self._lost and not self._broken and not self._chunks

    def begin(self, head: bytes, *, no_body: bool) -> None:
        """Sends a request's head; `no_body` when the answer has none whatever its headers say (HEAD)."""
        self._reset(no_body=no_body)
        self.write(head)

    def write(self, data: bytes) -> None:
        if self._lost or self._transport is None:
            raise UpstreamUnreachable("the service closed the connection")
        self._transport.write(data)

    def outgoing(self) -> socket.socket | None:
        """To write to past this, for as long as nothing waits here. Raises UpstreamUnreachable."""
        if self._lost or self._transport is None:
            raise UpstreamUnreachable("the service closed the connection")
        if self._transport.get_write_buffer_size():
            return None
        found: socket.socket = self._transport.get_extra_info("socket")
        return found

    @property
    def write_paused(self) -> bool:
        return self._write_paused

    async def drain(self, timeout: float) -> None:
        """Waits until the service has taken most of what was written. Raises UpstreamTimeout."""
        if self._write_paused and not self._lost:
            self._drained = self._loop.create_future()
            await self._wait(self._drained, timeout)

    async def first_bytes(self, timeout: float) -> None:
        """Waits for any sign of an answer. Raises UpstreamTimeout, UpstreamUnreachable."""
        while not self._answered:
            await self._listen(timeout)

    async def may_send(self, timeout: float) -> bool:
        """True after `100 Continue`, False when the final answer is already here."""
        while not self._continued and self._head is None:
            await self._listen(timeout)
        return self._head is None

    async def head(self, timeout: float) -> Head:
        """The final answer's head. Raises UpstreamTimeout, UpstreamUnreachable."""
        while self._head is None:
            await self._listen(timeout)
        return self._head

    async def read(self, timeout: float) -> bytes:
        """The next bytes of the answer's body as they came, b"" at its end."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._listen(timeout)
        if len(self._chunks) == 1:
            data = self._chunks.popleft()
        else:
            data = b"".join(self._chunks)
            self._chunks.clear()
        self._buffered = 0
        if self._read_paused and self._transport is not None:
            self._read_paused = False
            self._transport.resume_reading()
        return data

    @property
    def ended(self) -> bool:
        """The answer has been read to its end."""
        return self._complete and not self._chunks

    def abort(self) -> None:
        self._lost = True
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestors

    def data_received(self, data: bytes) -> None:
        self._answered = True
        if self._complete:
            self._broken = True  # an answer to a question nobody asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._broken = True
            self.abort()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._until_close and self._head is not None and exc is None:
            self._complete = True
        self._wake()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # What the parser calls

    def on_message_begin(self) -> None:
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._continued = self._continued or status == 100
            return
        self._head = Head(status, self._headers)
        self._keep_alive = self._parser.should_keep_alive()
        names = {name for name, _ in self._headers}
        self._until_close = b"content-length" not in names and b"transfer-encoding" not in names
        if self._no_body or status in _BODILESS:
            self._complete = True

    def on_body(self, body: bytes) -> None:
        if self._complete:
            self._broken = True
            return
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > HIGH_WATER and not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._head is not None:
            self._complete = True

    # Waiting

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _listen(self, timeout: float) -> None:
        if self._lost:
            raise UpstreamUnreachable("the service closed the connection before it had answered")
        self._waiter = self._loop.create_future()
        await self._wait(self._waiter, timeout)

    async def _wait(self, future: asyncio.Future[None], timeout: float) -> None:
        handle = self._loop.call_later(timeout, _expire, future)
        try:
            await future
        finally:
            handle.cancel()


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(UpstreamTimeout("the service did not answer in time"))
