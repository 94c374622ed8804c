"""Bodies read in threads, straight from their connections: the event loop has no part in them."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from services.upload.blobs.digest import Buffer
from shared.http import Arrived

THREADS = 8  # that read and write, and as many that hash
PIECE = 512 * 1024  # bytes read and written while as many are hashed

Work = Callable[[Sequence[Buffer]], None]


class Takers:
    def __init__(self) -> None:
        self._writers = ThreadPoolExecutor(THREADS, thread_name_prefix="take")
        self._counters = ThreadPoolExecutor(THREADS, thread_name_prefix="hash")
        self._buffers = threading.local()

    def start(self, arrived: Arrived, most: int, write: Work, count: Work) -> asyncio.Future[int]:
        """Takes at most so many bytes: each piece is written, and counted while the next one is written. The result
        says how many there were.
        """
        return asyncio.get_running_loop().run_in_executor(self._writers, self._take, arrived, most, write, count)

    def close(self) -> None:
        self._writers.shutdown(wait=False)
        self._counters.shutdown(wait=False)

    def _take(self, arrived: Arrived, most: int, write: Work, count: Work) -> int:
        buffers, size, taken, counting = itertools.cycle(self._pair()), PIECE, 0, None
        try:
            while size == PIECE:
                buffer = next(buffers)
                size = arrived.read(buffer[: most - taken])
                if counting is not None:
                    counting.result()
                counting = self._counters.submit(count, [buffer[:size]])
                write([buffer[:size]])
                taken += size
        finally:
            if counting is not None:
                counting.result()
        return taken

    def _pair(self) -> tuple[memoryview, memoryview]:
        """Of the thread that asks."""
        if not hasattr(self._buffers, "pair"):
            self._buffers.pair = memoryview(bytearray(PIECE)), memoryview(bytearray(PIECE))
        pair: tuple[memoryview, memoryview] = self._buffers.pair
        return pair
