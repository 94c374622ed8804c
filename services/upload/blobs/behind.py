"""Bytes of a file counted as they are read back, while more of them are written."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from services.upload.blobs.digest import Digest

THREADS = 6  # files counted at once
PIECE = 1024 * 1024  # bytes read back at once
FARTHEST = 8 * PIECE  # bytes that may wait to be counted: they should not have left the memory


class Counters:
    """The threads that count, each with its buffer."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="hash")
        self._own = threading.local()

    @property
    def buffer(self) -> memoryview:
        if not hasattr(self._own, "buffer"):
            self._own.buffer = memoryview(bytearray(PIECE))
        found: memoryview = self._own.buffer
        return found

    def close(self) -> None:
        self.pool.shutdown(wait=False)


class Behind:
    """Counts one file, in order and in one thread at a time. Its methods run in other threads, one at a time.

    It has a descriptor of its own, so that the file can be let go of meanwhile. The digest is complete only after
    `catch_up`.
    """

    def __init__(self, counters: Counters, file: int, digest: Digest, counted: int) -> None:
        self._counters = counters
        self._file: int | None = os.dup(file)
        self._digest = digest
        self._counted = self._end = self._wanted = counted
        self._changed = threading.Condition()
        self._runs = self._ends = False
        self._error: OSError | None = None

    def reach(self, end: int) -> None:
        """The file holds bytes up to there. Waits while too many are not counted. Raises OSError."""
        with self._changed:
            self._end = end
            self._go()
            while self._runs and self._end - self._counted > FARTHEST:
                self._changed.wait()
            self._raise()

    def catch_up(self) -> None:
        """Waits until all is counted. Raises OSError."""
        with self._changed:
            self._wanted = self._end
            self._go()
            while self._runs:
                self._changed.wait()
            self._raise()

    def end(self) -> None:
        """Nothing more comes. Does not wait for what is still to be counted."""
        with self._changed:
            self._wanted, self._ends = self._end, True
            self._go()
            self._rest()

    def stop(self) -> None:
        """Counts no more."""
        with self._changed:
            self._end = self._wanted = self._counted
            self._ends = True
            while self._runs:
                self._changed.wait()
            self._rest()

    def _go(self) -> None:
        if not self._runs and self._error is None and self._due():
            self._runs = True
            self._counters.pool.submit(self._run)

    def _rest(self) -> None:
        if self._ends and not self._runs and self._file is not None:
            os.close(self._file)
            self._file = None

    def _due(self) -> int:
        """Bytes to count now: a whole piece, or what is waited for."""
        left = self._end - self._counted
        return min(left, PIECE) if left >= PIECE or self._counted < self._wanted else 0

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while size := self._next():
            try:
                self._count(size)
            except OSError as error:
                self._error = error
            with self._changed:
                self._counted += size
                self._changed.notify_all()

    def _next(self) -> int:
        """Bytes to count now; with none this thread is done."""
        with self._changed:
            size = self._due() if self._error is None else 0
            self._runs = size > 0
            self._rest()
            if not self._runs:
                self._changed.notify_all()
            return size

    def _count(self, size: int) -> None:
        assert self._file is not None  # noqa: S101 - it is closed at the end
        buffer, left = self._counters.buffer[:size], size
        while left:
            found = os.preadv(self._file, [buffer[:left]], self._counted + size - left)
            if not found:
                raise OSError(errno.EIO, "the staged file is shorter than what was written")
            self._digest.update([buffer[:found]])
            left -= found
