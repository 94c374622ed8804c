"""Bodies moved from one connection to another inside the system: they are not copied, and the loop has no part."""

import asyncio
import fcntl
import os
import select
import threading
from concurrent.futures import ThreadPoolExecutor

from services.gateway.proxy.connection import Connection
from shared.http import Arrived

THREADS = 8
ROOM = 1024 * 1024  # bytes on their way inside the system
MOST = 16 * ROOM  # bytes moved before the loop has a look at both ends
LINGER = 2  # milliseconds a thread waits for the service before it gives the connection back
POSSIBLE = hasattr(os, "splice")


class Splicer:
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="splice")
        self._pipes = threading.local()

    async def move(self, arrived: Arrived, most: int, connection: Connection) -> int:
        """Bytes taken from `arrived`, at most so many. What the service does not take at once is left to
        `connection.write`. Raises UpstreamUnreachable.
        """
        out = connection.outgoing()
        if out is None:
            return 0
        # The thread's own: a transport that is aborted meanwhile gives its descriptor's number to somebody else.
        own = os.dup(out.fileno())
        moving = asyncio.get_running_loop().run_in_executor(self._threads, self._move, arrived, most, own)
        moving.add_done_callback(lambda _: os.close(own))
        moved, rest = await asyncio.shield(moving)
        if rest:
            connection.write(rest)
        return moved

    def _move(self, arrived: Arrived, most: int, out: int) -> tuple[int, bytes]:
        reader, writer = self._pipe()
        moved = 0
        try:
            while moved < most:
                size = arrived.splice(writer, min(ROOM, most - moved))
                if not size:
                    break
                moved += size
                left = _push(reader, out, size)
                if left:
                    return moved, _emptied(reader, left)
        except BaseException:
            self._drop_pipe()  # what stays in it must never reach another's connection
            raise
        return moved, b""

    def _drop_pipe(self) -> None:
        for end in self._pipes.pair:
            os.close(end)
        del self._pipes.pair

    def _pipe(self) -> tuple[int, int]:
        """Of the thread that asks; empty."""
        if not hasattr(self._pipes, "pair"):
            self._pipes.pair = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.fcntl(self._pipes.pair[1], fcntl.F_SETPIPE_SZ, ROOM)
        pair: tuple[int, int] = self._pipes.pair
        return pair


def _push(reader: int, out: int, size: int) -> int:
    """Returns the bytes that stay in the pipe."""
    while size:
        try:
            size -= os.splice(reader, out, size, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            poll = select.poll()
            poll.register(out, select.POLLOUT)
            if not poll.poll(LINGER):
                break
        except OSError:
            break  # the transport will find out, too
    return size


def _emptied(reader: int, size: int) -> bytes:
    rest = b""
    while len(rest) < size:
        rest += os.read(reader, size - len(rest))
    return rest
