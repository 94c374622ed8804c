"""Bodies read in threads, straight from their connections: the event loop has no part in them."""

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from services.upload.blobs.digest import Buffer
from shared.http import Arrived

THREADS = 6  # that read; each has one that writes and one that hashes
PIECE = 1024 * 1024  # bytes read and written at once
PIECES = 4  # in the memory of each thread, on their way from one to the other

Work = Callable[[Sequence[Buffer]], None]


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

    def close(self) -> None:
        self._threads.shutdown(wait=False)

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
        self.pieces = [memoryview(bytearray(PIECE)) for _ in range(PIECES)]
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self.counter = ThreadPoolExecutor(1, thread_name_prefix="hash")
