"""Blobs on a local disk: staged, hashed as they come, synced, then linked into their place."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from services.upload.blobs.store import Found, Written

BUFFER = 1024 * 1024  # bytes handed to the disk together
AHEAD = 8 * BUFFER  # bytes that may wait in memory for the disk
READ = 512 * 1024  # bytes of a download held at a time
HEAD = 4096  # bytes kept for sniffing

T = TypeVar("T")


class LocalStore:
    """`root/staging/<upload id>` while an upload runs, `root/blobs/<path>` afterwards; both on one file system."""

    def __init__(self, root: Path, threads: int = 32) -> None:
        self._staging = root / "staging"
        self._blobs = root / "blobs"
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="disk")
        for folder in (root, self._staging, self._blobs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, upload_id: UUID) -> "LocalWriter":
        return LocalWriter(self, self._staging / str(upload_id))

    async def read(self, path: str, start: int, length: int) -> AsyncIterator[bytes]:
        file = await self.run(lambda: self._path(path).open("rb", buffering=0))
        try:
            while length > 0:
                offset, size = start, min(READ, length)
                chunk = await self.run(lambda: os.pread(file.fileno(), size, offset))  # noqa: B023 - run at once
                if not chunk:
                    raise OSError(f"{path} is shorter than it was")
                start, length = start + len(chunk), length - len(chunk)
                yield chunk
        finally:
            file.close()

    async def exists(self, path: str) -> bool:
        return await self.run(self._path(path).is_file)

    async def delete(self, path: str) -> None:
        await self.run(lambda: self._path(path).unlink(missing_ok=True))

    async def walk(self, prefix: str) -> list[Found]:
        return await self.run(lambda: self._walk(prefix))

    async def stale_uploads(self, older_than: float) -> list[UUID]:
        return await self.run(lambda: [UUID(p.name) for p in self._staging.iterdir() if p.stat().st_mtime < older_than])

    async def drop_upload(self, upload_id: UUID) -> None:
        await self.run(lambda: (self._staging / str(upload_id)).unlink(missing_ok=True))

    async def check(self) -> None:
        await self.run(lambda: os.utime(self._staging))

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def put(self, staged: Path, path: str) -> None:
        """Moves a synced file to its place and syncs the folders that changed."""
        target = self._path(path)
        made = self._make_folders(target.parent)
        # Never over another blob: a path is one upload's.
        os.link(staged, target)
        staged.unlink()
        for folder in (target.parent, *made):
            _sync_folder(folder)

    def _make_folders(self, folder: Path) -> list[Path]:
        """Creates what is missing; returns the parents whose new entries must be synced."""
        changed = []
        for place in [*reversed(folder.parents), folder]:
            if place.is_relative_to(self._blobs) and place != self._blobs:
                with contextlib.suppress(FileExistsError):
                    place.mkdir(mode=0o700)
                    changed.append(place.parent)
        return changed

    def _path(self, path: str) -> Path:
        found = self._blobs / path
        if ".." in Path(path).parts or not found.is_relative_to(self._blobs):
            raise FileNotFoundError(path)
        return found

    def _walk(self, prefix: str) -> list[Found]:
        found = []
        for place, _, names in os.walk(self._path(prefix)):
            for name in names:
                path = Path(place, name)
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    stat = path.stat()
                    found.append(Found(str(path.relative_to(self._blobs)), stat.st_size, stat.st_mtime))
        return found


class LocalWriter:
    """Small uploads cost one trip to a thread; large ones one a buffer, filled while the last one is written."""

    def __init__(self, store: LocalStore, staged: Path) -> None:
        self._store = store
        self._staged = staged
        self._file: int | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._sent = 0  # bytes the disk was told to begin with
        self._head = b""
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._writing: asyncio.Future[None] | None = None
        self._placed: str | None = None

    async def write(self, chunk: bytes) -> None:
        self._buffer.append(chunk)
        self._buffered += len(chunk)
        if self._buffered >= BUFFER:
            await self._flush()

    async def finish(self) -> Written:
        if self._writing is not None:
            await self._writing
            self._writing = None
        chunks = self._take()
        if self._file is not None:
            await self._store.run(lambda: self._put(chunks))
        else:
            # Never touched the disk: hashing what is in memory is quick, and writing waits for `place`.
            self._count(chunks)
            self._buffer = chunks
        return Written(self._size, self._hash.hexdigest(), self._head)

    async def place(self, path: str) -> None:
        chunks = self._take()
        self._placed = path  # said first: half a placement must be undone too
        await self._store.run(lambda: self._place(chunks, path))

    async def abort(self) -> None:
        if self._writing is not None:
            await asyncio.wait({self._writing})
        await self._store.run(self._remove)

    async def _flush(self) -> None:
        if self._writing is not None:
            await self._writing
        chunks = self._take()
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._store._pool, self._put, chunks)  # noqa: SLF001 - its own store

    def _take(self) -> list[bytes]:
        chunks, self._buffer, self._buffered = self._buffer, [], 0
        return chunks

    def _put(self, chunks: list[bytes]) -> None:
        self._append(chunks)
        self._count(chunks)

    def _count(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            if len(self._head) < HEAD:
                self._head += chunk[: HEAD - len(self._head)]
            self._hash.update(chunk)
            self._size += len(chunk)

    def _append(self, chunks: list[bytes]) -> None:
        if self._size - self._sent >= AHEAD and self._file is not None:
            # Sets the disk to work on what has come while the rest still comes; the final fsync then waits for little.
            os.posix_fadvise(self._file, self._sent, self._size - self._sent, os.POSIX_FADV_DONTNEED)
            self._sent = self._size
        if self._file is None:
            self._file = os.open(self._staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        left = [memoryview(chunk) for chunk in chunks if chunk]
        while left:
            written = os.writev(self._file, left[:512])
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left and written:
                left[0] = left[0][written:]

    def _place(self, chunks: list[bytes], path: str) -> None:
        self._append(chunks)
        assert self._file is not None  # noqa: S101 - appending opened it
        os.fsync(self._file)
        os.close(self._file)
        self._file = None
        self._store.put(self._staged, path)

    def _remove(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._staged.unlink(missing_ok=True)
        if self._placed is not None:
            self._store._path(self._placed).unlink(missing_ok=True)  # noqa: SLF001 - its own store


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
