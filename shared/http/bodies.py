"""Reading a request's body as it comes, with a limit on patience."""

import asyncio
from typing import Self

from starlette.requests import Request
from starlette.types import Message

from shared.errors import DomainError
from shared.http.large import DRAIN, READY, Drain, Ready, Take
from shared.http.rounds import Rounds

IDLE = 30.0  # seconds without a byte
CHUNKS = 8  # worked on before everybody else has a turn, each of them up to 256 KiB


class ClientGone(Exception):
    """The client hung up before its body was whole."""


class RequestTimeout(DomainError):
    def __init__(self) -> None:
        super().__init__("request_timeout", 408, "The body came too slowly.")


_chunks = Rounds(CHUNKS)


class Body:
    """A request's: iterate over it, and `drain` what can be had at less cost. Raises ClientGone, or RequestTimeout when
    nothing comes for `idle` seconds or, after `grace` seconds of waiting, the whole came at less than `minimum_rate`
    bytes a second.
    """

    def __init__(self, request: Request, *, idle: float = IDLE, minimum_rate: int = 1024, grace: float = 30.0) -> None:
        self._receive = request.receive
        extensions = request.scope.get("extensions", {})
        self._drain: Drain | None = extensions.get(DRAIN)
        self._ready: Ready = extensions.get(READY, lambda: False)
        self._idle = idle
        self._minimum_rate = minimum_rate
        self._grace = grace
        self._waited = 0.0  # seconds
        self._total = 0  # bytes
        self._more = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while self._more:
            if self._waited > self._grace and self._total < self._waited * self._minimum_rate:
                raise RequestTimeout
            chunk = await self._next()
            if chunk:
                self._total += len(chunk)
                await _chunks.turn()
                return chunk
        raise StopAsyncIteration

    async def drain(self, most: int, take: Take) -> int:
        """Bytes that had arrived and were taken off the connection: none where only iteration goes."""
        taken = 0 if self._drain is None else await self._drain(most, take)
        self._total += taken
        return taken

    async def _next(self) -> bytes:
        message = await (self._receive() if self._ready() else self._wait())
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._more = message.get("more_body", False)
        found: bytes = message.get("body", b"")
        return found

    async def _wait(self) -> Message:
        loop = asyncio.get_running_loop()
        # Only the wait for the client counts: a slow disk on our side is not its fault.
        since = loop.time()
        try:
            async with asyncio.timeout(self._idle):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeout from None
        self._waited += loop.time() - since
        return message
