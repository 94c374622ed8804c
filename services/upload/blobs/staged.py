"""One upload on its way to the local disk: gathered, written and hashed under its id, then given its place."""

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from services.upload.blobs.behind import Behind
from services.upload.blobs.digest import Buffer, Digest
from services.upload.blobs.disk import begin_writing, explained, write_all
from services.upload.blobs.store import Occupied, StoreFull, StoreUnavailable
from services.upload.blobs.together import sync_folder
from shared.http import Arrived

if TYPE_CHECKING:
    from services.upload.blobs.local import LocalStore

AHEAD = 2 * 1024 * 1024  # bytes that may wait in memory for the disk

T = TypeVar("T")


class LocalWriter:
    """Small uploads cost one trip to a thread; large ones one a buffer, filled while the last one is written."""

    def __init__(self, store: "LocalStore", upload_id: UUID, digest: Digest | None, resumes: int | None = None) -> None:
        self._store = store
        self._upload_id = upload_id
        self._digest = digest
        self._file: int | None = None
        self._resumes = resumes is not None
        self._unsynced = False  # the staged file's name is not on the disk yet
        self._size = resumes or 0
        self._sent = self._size  # bytes the disk was told to begin with
        self._behind: Behind | None = None  # hashes what went past us
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._writing: asyncio.Future[Any] | None = None
        self._placed: str | None = None

    @property
    def _staged(self) -> Path:
        return self._store.staged(self._upload_id)

    def aim(self, path: str) -> None:
        """A move costs nothing here."""

    async def write(self, chunk: bytes) -> None:
        self._buffer.append(chunk)
        self._buffered += len(chunk)
        if self._buffered >= self._store.buffer:
            await self._flush()

    async def take(self, arrived: Arrived, most: int) -> int:
        chunks, takers = await self._drained(), self._store.takers
        if self._store.splices:
            self._writing = taking = takers.splice(arrived, most, lambda: self._begin(chunks), self._land)
        else:
            if chunks:
                await self._store.run(lambda: self._put(chunks))
            self._writing = taking = takers.start(arrived, most, self._append, self._count)
        taken = await self._written(taking)
        self._writing = None
        return taken

    async def checkpoint(self) -> dict[str, Any]:
        chunks = await self._drained()
        await self._store.run(lambda: self._save(chunks))
        return {}

    async def finish(self) -> None:
        chunks = await self._drained()
        if self._file is not None or self._resumes:
            await self._store.run(lambda: self._end(chunks))
        else:
            # Never touched the disk: hashing what is in memory is quick, and writing waits for `place`.
            self._count(chunks)
            self._buffer = chunks

    async def place(self, path: str) -> None:
        chunks = self._take()
        self._placed = path  # said first: half a placement must be undone too
        if self._file is None and not self._resumes:
            self._writing = self._store.write(chunks, path)
        else:
            self._writing = self._store.start(lambda: self._place(chunks, path))
        try:
            await self._written(self._writing)
        except Occupied:
            self._placed = None
            raise

    async def counted(self) -> None:
        if (behind := self._behind) is not None:
            await self._store.run(behind.catch_up)

    async def suspend(self) -> None:
        with contextlib.suppress(OSError, StoreFull, StoreUnavailable):
            await self._drained()
        if self._behind is not None:
            self._behind.end()
            if self._file is not None:
                fcntl.flock(self._file, fcntl.LOCK_UN)  # what it counts with would hold the lock as well
        self._close_file()  # waits for nothing: what has to be safe was synced before

    async def abort(self) -> None:
        if self._writing is not None:
            await asyncio.wait({self._writing})
        await self._store.run(self._remove)

    async def _drained(self) -> list[bytes]:
        """Waits for what is being written; returns what has not been handed to the disk."""
        if self._writing is not None:
            await self._written(self._writing)
            self._writing = None
        return self._take()

    async def _written(self, writing: asyncio.Future[T]) -> T:
        with explained():
            # Cancelled, this waits no longer, but the thread writes on: whoever cleans up has to wait for it.
            return await asyncio.shield(writing)

    async def _flush(self) -> None:
        chunks = await self._drained()
        self._writing = self._store.start(lambda: self._put(chunks))

    def _take(self) -> list[bytes]:
        chunks, self._buffer, self._buffered = self._buffer, [], 0
        return chunks

    def _put(self, chunks: list[bytes]) -> None:
        self._append(chunks)
        self._count(chunks)

    def _count(self, chunks: Sequence[Buffer]) -> None:
        if self._behind is not None:
            self._behind.reach(self._size)
        elif self._digest is not None:
            self._digest.update(chunks)

    def _append(self, chunks: Sequence[Buffer]) -> None:
        write_all(self._ready(), chunks, self._size)
        self._size += sum(map(len, chunks))

    def _begin(self, chunks: list[bytes]) -> None:
        """What came first is counted with what goes past us."""
        file = self._ready()
        if self._behind is None and self._digest is not None:
            self._behind = Behind(self._store.counters, file, self._digest, self._size)
        if chunks:
            self._put(chunks)

    def _land(self, pipe: int, size: int) -> None:
        file = self._ready()
        while size:
            moved = os.splice(pipe, file, size, offset_dst=self._size)
            self._size += moved
            size -= moved
        if self._behind is not None:
            self._behind.reach(self._size)

    def _ready(self) -> int:
        """The open file. Sets the disk to work on what has come while the rest still comes; the final fsync then waits
        for little.
        """
        if self._file is None:
            self._file = self._open()
        if self._size - self._sent >= AHEAD:
            begin_writing(self._file, self._sent, self._size - self._sent)
            self._sent = self._size
        return self._file

    def _open(self) -> int:
        self._unsynced = self._size == 0
        if not self._resumes:
            return os.open(self._staged, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Nothing need be there yet: the first bytes may have been lost with their process.
        create = 0 if self._size else os.O_CREAT
        try:
            file = os.open(self._staged, os.O_RDWR | os.O_CLOEXEC | create, 0o600)
        except FileNotFoundError:
            raise OSError(errno.EIO, "the staged file is gone") from None
        try:
            # One process at a time, and the dead let go by themselves.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_size < self._size:
                raise OSError(errno.EIO, "the staged file is shorter than what was safe")
            # What was written after the last checkpoint was promised to nobody.
            os.ftruncate(file, self._size)
            os.lseek(file, self._size, os.SEEK_SET)
        except OSError:
            os.close(file)
            raise
        return file

    def _save(self, chunks: list[bytes]) -> None:
        self._put(chunks)
        self._sync()
        if self._unsynced:
            sync_folder(self._staged.parent)
            self._unsynced = False

    def _end(self, chunks: list[bytes]) -> None:
        self._put(chunks)
        if self._behind is not None:
            self._sync()  # while the last of it is hashed
            self._behind.catch_up()

    def _sync(self) -> None:
        assert self._file is not None  # noqa: S101 - it was written to
        os.fdatasync(self._file)
        self._sent = self._size

    def _place(self, chunks: list[bytes], path: str) -> None:
        self._append(chunks)
        assert self._file is not None  # noqa: S101 - appending opened it
        os.fsync(self._file)
        self._close()
        self._store.put(self._staged, path)

    def _close(self) -> None:
        if self._behind is not None:
            self._behind.stop()
            self._behind = None
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _remove(self) -> None:
        self._close()
        self._staged.unlink(missing_ok=True)
        if self._placed is not None:
            self._store.place_of(self._placed).unlink(missing_ok=True)
