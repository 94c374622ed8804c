import asyncio
import contextlib
from uuid import UUID

from starlette.types import Message, Receive, Scope, Send

from services.gateway.proxy.headers import Headers
from shared.http import DRAIN, OUTLET, Arrived, Drain, Outlet, Take, owner_of


class Meter:
    """Body bytes of one request on their way in and out, by ASGI's channels and past them."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extensions = scope.get("extensions") or {}
        self.tenant: UUID | None = None  # whose traffic it is
        self.project: UUID | None = None
        self.answered = False
        self._receive = receive
        self._send = send
        self._drain: Drain | None = extensions.get(DRAIN)
        self._outlet: Outlet | None = extensions.get(OUTLET)
        self._is_head = scope["method"] == "HEAD"
        self._received = self._written = 0
        self._taken_in = self._taken_out = 0

    @property
    def drain(self) -> Drain | None:
        return None if self._drain is None else self._count_drained

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        lost = self._lost  # asked before: with the end of an answer the connection may end, too
        await self._send(message)
        if message["type"] == "http.response.start":
            self.answered = True
        # What comes after the client has gone is not written.
        elif not self._is_head and not lost:
            self._written += len(message.get("body", b""))

    def hear(self, headers: Headers) -> None:
        """An answer as its service gave it: the owner of a file knows better than the request whose traffic it is."""
        if (owner := owner_of(headers)) is not None:
            self.tenant, self.project = owner

    def take(self, *, ended: bool) -> tuple[int, int]:
        """Bytes in and out since the last time. What waits in the process counts once it has left it, or at the end."""
        waits = 0 if ended or self._outlet is None else self._outlet.unsent
        bytes_in = self._received - self._taken_in
        bytes_out = max(0, self._written - waits - self._taken_out)
        self._taken_in += bytes_in
        self._taken_out += bytes_out
        return bytes_in, bytes_out

    @property
    def _lost(self) -> bool:
        return self._outlet is not None and self._outlet.lost

    async def _count_drained(self, most: int, take: Take) -> int:
        async def counted(arrived: Arrived, size: int) -> int:
            moving = asyncio.ensure_future(take(arrived, size))
            try:
                moved = await asyncio.shield(moving)
            except asyncio.CancelledError:
                # A service that has the last byte may have answered before the move that brought it tells of it. It
                # ends in a moment, as nothing waits for more than a few milliseconds in there.
                with contextlib.suppress(Exception):
                    self._received += await moving
                raise
            self._received += moved
            return moved

        return 0 if self._drain is None else await self._drain(most, counted)
