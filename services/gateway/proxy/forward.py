"""One request carried to a service and its answer carried back, a chunk at a time."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from starlette.types import Receive, Send

from services.gateway.proxy.connection import Connection, Head
from services.gateway.proxy.errors import ClientGone, ClientTooSlow, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from services.gateway.proxy.headers import Headers, relayed, request_head
from services.gateway.proxy.pool import Pool
from services.gateway.proxy.splice import MOST, POSSIBLE, Splicer
from shared.http import Drain

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds without any progress, at each place where somebody waits."""

    answer: float = 60.0  # for the service, after the whole body
    progress: float = 60.0  # for the service to take or give the next bytes
    client: float = 30.0  # for the client's next bytes of a body


@dataclass(frozen=True, slots=True)
class Request:
    """What goes upstream; `length` in bytes, None for chunked. `own` headers replace whatever the client claimed;
    `heard` is told the answer's as the service gave them, before the client sees less.
    """

    method: str
    target: bytes
    headers: Iterable[tuple[bytes, bytes]]
    length: int | None
    own: Mapping[bytes, bytes]
    heard: Callable[[Headers], object]


class Forwarder:
    """The way to one service."""

    def __init__(self, pool: Pool, deadlines: Deadlines, splicer: Splicer) -> None:
        self._pool = pool
        self._deadlines = deadlines
        self._splicer = splicer

    async def forward(self, request: Request, receive: Receive, send: Send, drain: Drain | None = None) -> int:
        """Relays the answer and returns its status. `drain`: the shorter way to the body, where there is one.

        Raises UpstreamError before anything was sent, ClientGone and ClientTooSlow for the caller's part. When the
        service breaks off in the middle of its answer the answer stays incomplete: the server then cuts the client off.
        """
        head, expect = request_head(request.method, request.target, request.headers, request.length, request.own)
        connection = await self._begin(request, head, expect=expect)
        try:
            if expect and not await connection.may_send(self._deadlines.answer):
                # A refusal before the first byte of the body: the client's is never asked for.
                status = await self._relay(request, connection, await connection.head(0), send, body_sent=False)
            else:
                status = await self._exchange(connection, request, receive, send, drain)
        except BaseException:
            connection.abort()
            raise
        self._pool.release(connection)
        return status

    async def _begin(self, request: Request, head: bytes, *, expect: bool) -> Connection:
        """Sends the head; on a kept connection that turns out dead, once more on a fresh one."""
        connection, used = await self._pool.acquire()
        connection.begin(head, no_body=request.method == "HEAD")
        if not used or not (expect or (request.length == 0 and request.method in _REPEATABLE)):
            return connection
        try:
            await connection.first_bytes(self._deadlines.answer)
        except UpstreamUnreachable:
            connection, _ = await self._pool.acquire(fresh=True)
            connection.begin(head, no_body=request.method == "HEAD")
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _exchange(
        self, connection: Connection, request: Request, receive: Receive, send: Send, drain: Drain | None
    ) -> int:
        body = _Body(connection, receive, self._deadlines, chunked=request.length is None)
        if drain is not None and request.length is not None and POSSIBLE:
            body.drain = partial(drain, MOST, partial(self._splicer.move, connection=connection))
        pump = asyncio.create_task(body.pump())
        try:
            head = await self._head(connection, body)
            if not body.sent:
                # The service has decided without the rest of the body; nobody reads it any more.
                await _cancel(pump)
            return await self._relay(request, connection, head, send, body_sent=body.sent)
        except UpstreamError:
            if pump.done() and not pump.cancelled() and (error := pump.exception()) is not None:
                raise error from None  # why the connection is gone
            raise
        finally:
            await _cancel(pump)

    async def _head(self, connection: Connection, body: "_Body") -> Head:
        patience = self._deadlines.answer
        while True:
            try:
                return await connection.head(patience)
            except UpstreamTimeout:
                # As long as the body is on its way its own deadlines hold; this one counts from its end.
                waited = 0.0 if body.sent_at is None else asyncio.get_running_loop().time() - body.sent_at
                patience = self._deadlines.answer - waited
                if patience <= 0:
                    raise

    async def _relay(self, request: Request, connection: Connection, head: Head, send: Send, *, body_sent: bool) -> int:
        request.heard(head.headers)
        headers = relayed(head.headers)
        await send({"type": "http.response.start", "status": head.status, "headers": headers})
        while True:
            try:
                data = await connection.read(self._deadlines.progress)
            except UpstreamError as error:
                raise AnswerCutOff(head.status) from error
            ended = connection.ended
            if ended and not body_sent:
                connection.abort()  # it still waits for the body and can carry nothing else
            await send({"type": "http.response.body", "body": data, "more_body": not ended})
            if ended:
                return head.status


class AnswerCutOff(Exception):
    """The service broke off after its answer had begun: too late to say so in words."""

    def __init__(self, status: int) -> None:
        super().__init__(f"after status {status}")
        self.status = status


class _Body:
    """Carries the client's body, then watches whether the client stays for the answer."""

    drain: Callable[[], Awaitable[int]] | None = None  # moves what has arrived of it, and says how many bytes

    def __init__(self, connection: Connection, receive: Receive, deadlines: Deadlines, *, chunked: bool) -> None:
        self._connection = connection
        self._receive = receive
        self._deadlines = deadlines
        self._chunked = chunked
        self.sent_at: float | None = None  # the loop's time when its last byte was written

    @property
    def sent(self) -> bool:
        return self.sent_at is not None

    async def pump(self) -> None:
        """Ends by cancellation, or by the reason for which it has aborted the exchange."""
        try:
            await self._send()
            self.sent_at = asyncio.get_running_loop().time()
            while (await self._receive())["type"] != "http.disconnect":
                pass
            raise ClientGone
        except (ClientGone, ClientTooSlow, UpstreamTimeout):
            self._connection.abort()
            raise
        except UpstreamUnreachable:
            # A final answer may still lie in the buffer of a connection that takes no more.
            return

    async def _send(self) -> None:
        more = True
        while more:
            try:
                async with asyncio.timeout(self._deadlines.client):
                    message = await self._receive()
            except TimeoutError:
                raise ClientTooSlow from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = message.get("more_body", False)
            data = message.get("body", b"")
            if self._chunked:
                self._write_chunk(data, last=not more)
            elif data:
                self._connection.write(data)
            while True:
                if self._connection.write_paused:
                    await self._connection.drain(self._deadlines.progress)
                if not more or self.drain is None or not await self.drain():
                    break

    def _write_chunk(self, data: bytes, *, last: bool) -> None:
        frame = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._connection.write(frame + b"0\r\n\r\n" if last else frame)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
