"""Bodies read in threads, straight from their connections: the event loop has no part in them."""

import asyncio
import contextlib
import fcntl
import itertools
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from services.upload.blobs.digest import Buffer
from shared.http import Arrived

THREADS = 6  # that read; each has one that writes and one that hashes
PIECE = 1024 * 1024  # bytes read and written at once
PIECES = 4  # in the memory of each thread, on their way from one to the other
LONGEST = 0.25  # seconds taken before anybody is asked whether to go on

Work = Callable[[Sequence[Buffer]], None]
Land = Callable[[int, int], None]  # puts so many bytes of a pipe into a file


def can_splice(folder: Path) -> bool:
    """Whether files there take bytes from a pipe as they are."""
    if not hasattr(os, "splice"):
        return False
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            os.write(writer, b"1")
            return os.splice(reader, file.fileno(), 1, offset_dst=0) == 1
    except OSError:
        return False
    finally:
        os.close(reader)
        os.close(writer)


class Takers:
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="take")
        self._own = threading.local()

    def start(self, arrived: Arrived, most: int, write: Work, count: Work) -> asyncio.Future[int]:
        """Takes at most so many bytes. While a piece is read, those before it are written and counted, each in their
        order. The result says how many bytes there were.
        """
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, self._take, arrived, most, write, count)

    def splice(self, arrived: Arrived, most: int, begin: Callable[[], None], land: Land) -> asyncio.Future[int]:
        """As `start` does, for a file: the bytes go from the connection to it inside the system, without a copy in our
        memory. `begin` is done before.
        """
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, self._splice, arrived, most, begin, land)

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def _splice(self, arrived: Arrived, most: int, begin: Callable[[], None], land: Land) -> int:
        own, taken, until = self._mine(), 0, time.monotonic() + LONGEST
        begin()
        try:
            while taken < most and time.monotonic() < until:
                size = arrived.splice(own.pipe[1], min(PIECE, most - taken))
                if not size:
                    break
                land(own.pipe[0], size)
                taken += size
        except BaseException:
            own.renew_pipe()  # what stays in it must never reach another's file
            raise
        return taken

    def _take(self, arrived: Arrived, most: int, write: Work, count: Work) -> int:
        own, under_way, taken = self._mine(), deque[Future[None]](), 0
        try:
            for buffer in itertools.cycle(own.pieces):
                while len(under_way) > 2 * (PIECES - 1):
                    under_way.popleft().result()
                size = arrived.read(buffer[: most - taken])
                piece = [buffer[:size]]
                under_way += own.writer.submit(write, piece), own.counter.submit(count, piece)
                taken += size
                if size < PIECE:
                    break
            for work in under_way:
                work.result()
        finally:
            wait(under_way)
        return taken

    def _mine(self) -> "_Own":
        if not hasattr(self._own, "found"):
            self._own.found = _Own()
        found: _Own = self._own.found
        return found


class _Own:
    """What one thread has for itself."""

    def __init__(self) -> None:
        self.pipe = _pipe()
        self.pieces = [memoryview(bytearray(PIECE)) for _ in range(PIECES)]
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self.counter = ThreadPoolExecutor(1, thread_name_prefix="hash")

    def renew_pipe(self) -> None:
        before, self.pipe = self.pipe, _pipe()
        for end in before:
            os.close(end)


def _pipe() -> tuple[int, int]:
    """Its ends for reading and for writing, with room for a piece."""
    pair = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # more than the system allows an ordinary user
        fcntl.fcntl(pair[1], fcntl.F_SETPIPE_SZ, PIECE)
    return pair
