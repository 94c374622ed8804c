"""Parts of uploads on the local disk, between the sender and the object store."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

from services.upload.blobs.digest import Buffer
from services.upload.blobs.disk import explained, write_all
from services.upload.blobs.taking import Takers

READ = 1024 * 1024  # bytes on their way to the store held at a time
SENDING = 16  # parts on their way at a time, of all uploads

T = TypeVar("T")


class Spool:
    """Files without a name: they are gone with the process, however it ends. Never synced: nothing is promised yet."""

    def __init__(self, folder: Path | None, threads: int = 16) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="spool")
        self.takers = Takers()
        self.sending = asyncio.Semaphore(SENDING)

    def piece(self) -> "Piece":
        return Piece(self)

    async def run(self, work: Callable[[], T]) -> T:
        """In a thread. Raises StoreFull, StoreUnavailable."""
        with explained():
            return await self.start(work)

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def open(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder, buffering=0)

    def close(self) -> None:
        self._pool.shutdown(wait=False)
        self.takers.close()


class Piece:
    """Bytes of one part. `append` and `close` run in a thread, one at a time."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._file: IO[bytes] | None = None
        self.size = 0

    def append(self, chunks: Sequence[Buffer]) -> None:
        if self._file is None:
            self._file = self._spool.open()
        write_all(self._file.fileno(), chunks, self.size)
        self.size += sum(map(len, chunks))

    async def chunks(self) -> AsyncIterator[bytes]:
        """From the beginning, as often as wanted."""
        offset, end = 0, self.size
        while offset < end:
            chunk = await self._spool.run(lambda: self._read(offset))  # noqa: B023 - run at once
            if not chunk:
                raise OSError("the spooled part is shorter than it was")
            offset += len(chunk)
            yield chunk

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _read(self, offset: int) -> bytes:
        assert self._file is not None  # noqa: S101 - there is no size without it
        return os.pread(self._file.fileno(), min(READ, self.size - offset), offset)
