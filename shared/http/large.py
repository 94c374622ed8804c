"""Large bodies go past the parser, whose input is copied twice on the way, and can go past the event loop, too."""

import asyncio
import os
import select
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

LARGE = 512 * 1024  # bytes still to come that make it worth while
LEAST = 64 * 1024  # bytes read from the system at once, at least
LINGER = 1  # milliseconds a thread waits for more of a body before it gives the connection back


class Arrived:
    """What waits in the system's buffer of a connection, and what joins it there.

    A descriptor of its own: the transport may close while a thread reads, and another connection get its number.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._descriptor = os.dup(connection.fileno())
        self._closed = False
        self._lock = threading.Lock()

    def read(self, buffer: memoryview) -> int:
        """Bytes read, in a thread: fewer than there is room for when no more have come, or will come."""
        with self._lock:
            return 0 if self._closed else self._read(buffer)

    def splice(self, pipe: int, most: int) -> int:
        """Bytes moved into a pipe with room for as many; 0 when no more have come, or will come. In a thread."""
        with self._lock:
            while not self._closed:
                try:
                    return os.splice(self._descriptor, pipe, most, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
                except BlockingIOError:
                    if not self._more():
                        break
                except OSError:
                    break  # the transport will find out, too
        return 0

    def close(self) -> None:
        """Waits a moment for a thread that reads."""
        with self._lock:
            self._closed = True
            os.close(self._descriptor)

    def _read(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            try:
                count = os.readv(self._descriptor, [buffer[filled:]])
            except BlockingIOError:
                if not self._more():
                    break
                continue
            except OSError:
                break  # the transport will find out, too
            if not count:
                break
            filled += count
        return filled

    def _more(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(LINGER))


# `take(arrived, most)` reads at most so many bytes and tells how many.
Take = Callable[[Arrived, int], Awaitable[int]]
# The extension of a request's scope: `drain(most, take)` has that done to what has arrived of its body, and tells how
# many bytes there were; 0 also where they have to be received.
Drain = Callable[[int, Take], Awaitable[int]]
DRAIN = "stowage.drain"
# Another: `ready()` when there is something to receive, and nobody to wait for.
Ready = Callable[[], bool]
READY = "stowage.ready"


class LargeBody(asyncio.BufferedProtocol):
    """Takes the place of an HTTP protocol for the `left` bytes of a body, and gives it back.

    `http` has `waiting_limit`, bytes it lets wait for the application, `take(piece)`, and `large_body_ended()`.
    """

    def __init__(self, http: Any, left: int) -> None:
        self._http = http
        self._left = left
        self._buffer = bytearray()

    async def drain(self, transport: asyncio.Transport, most: int, take: Take) -> int:
        """What has arrived, without a look at it. The transport must not be reading."""
        arrived = Arrived(transport.get_extra_info("socket"))
        try:
            taken = await take(arrived, min(most, self._left))
        finally:
            arrived.close()
        self._took(taken)
        return taken

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the system's guess
        if not self._buffer:
            self._buffer = bytearray(min(self._left, max(LEAST, self._http.waiting_limit)))
        return memoryview(self._buffer)[: self._left]

    def buffer_updated(self, nbytes: int) -> None:
        piece: bytes | bytearray = self._buffer
        if nbytes == len(piece):
            self._buffer = bytearray()
        else:
            piece = bytes(memoryview(piece)[:nbytes])
        self._http.take(piece)
        self._took(nbytes)

    def _took(self, size: int) -> None:
        self._left -= size
        if not self._left:
            self._http.large_body_ended()

    def eof_received(self) -> None:
        self._http.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()
