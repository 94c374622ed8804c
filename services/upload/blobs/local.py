"""Blobs on a local disk: staged, hashed as they come, synced, then linked into their place.

One that is whole before the disk has seen any of it is written to its place at once: half the disk's work.
"""

import asyncio
import contextlib
import errno
import fcntl
import io
import itertools
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any, TypeVar
from uuid import UUID

from services.upload.blobs.behind import Behind, Counters
from services.upload.blobs.digest import Buffer, Digest
from services.upload.blobs.disk import explained, write_all
from services.upload.blobs.store import Found, Leftover, Occupied, StoreFull, StoreUnavailable
from services.upload.blobs.taking import Takers, can_splice
from services.upload.blobs.together import Together, sync_folder
from shared.http import Arrived

BUFFER = 1024 * 1024  # bytes handed to the disk together, at most
SHARED = 16 * BUFFER  # bytes all uploads under way gather together; each of them may have as much again on its way
LEAST = 64 * 1024  # bytes handed to the disk together when there are very many
AHEAD = 2 * BUFFER  # bytes that may wait in memory for the disk
BATCH = 1000  # entries of a listing fetched in one trip to a thread
READ = 512 * 1024  # bytes of a download held at a time

T = TypeVar("T")


class LocalStore:
    """`root/staging/<upload id>` while an upload runs, `root/blobs/<path>` afterwards; both on one file system.
    `blobs`: a folder that was there before, in place of `root/blobs`.
    """

    def __init__(self, root: Path, threads: int = 32, blobs: Path | None = None) -> None:
        self._staging = root / "staging"
        self._blobs = blobs or root / "blobs"
        self._writers = weakref.WeakSet[LocalWriter]()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="disk")
        self._together = Together(self._pool, self._make_folders)
        self.takers = Takers()
        self.counters = Counters()
        for folder in (root, self._staging, self._blobs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.splices = can_splice(self._staging)

    @property
    def buffer(self) -> int:
        """Bytes an upload may gather now: large writes are quicker, and memory is for all."""
        return max(LEAST, min(BUFFER, SHARED // max(1, len(self._writers))))

    def create(self, upload_id: UUID, digest: Digest, path: str | None = None) -> "LocalWriter":  # noqa: ARG002
        return LocalWriter(self, upload_id, digest)

    def resume(
        self,
        upload_id: UUID,
        state: Mapping[str, Any],  # noqa: ARG002 - the file itself is all there is to know
        offset: int,
        digest: Digest | None,
        path: str | None = None,  # noqa: ARG002
    ) -> "LocalWriter":
        return LocalWriter(self, upload_id, digest, resumes=offset)

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

    async def open_file(self, path: str, size: int) -> IO[bytes]:
        file = await self.run(lambda: _Blob(self._path(path)))
        if os.fstat(file.fileno()).st_size < size:
            file.close()
            raise OSError(f"{path} is shorter than it was")
        return io.BufferedReader(file)

    async def stat(self, path: str) -> Found | None:
        def look() -> Found | None:
            try:
                stat = self._path(path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return Found(path, stat.st_size, stat.st_mtime)

        return await self.run(look)

    async def copy(self, source: str, target: str) -> None:
        """By a second name for the same bytes: a blob is never written again."""

        def link() -> None:
            place = self._path(target)
            made = self._make_folders(place.parent)
            with contextlib.suppress(FileExistsError):
                os.link(self._path(source), place)
            os.utime(place)  # young again: the sweep for orphans must not take it before its row is there
            for folder in (place.parent, *made):
                sync_folder(folder)

        await self.run(link)

    async def delete(self, path: str) -> None:
        await self.run(lambda: self._path(path).unlink(missing_ok=True))

    async def walk(self, prefix: str) -> AsyncIterator[Found]:
        entries = self._walk(prefix)
        while batch := await self.run(lambda: list(itertools.islice(entries, BATCH))):
            for found in batch:
                yield found

    async def leftovers(self, older_than: float) -> AsyncIterator[Leftover]:
        for leftover in await self.run(lambda: list(self._leftovers(older_than))):
            yield leftover

    async def drop(self, leftover: Leftover) -> None:
        await self.run(lambda: (self._staging / leftover.handle).unlink(missing_ok=True))

    async def close(self) -> None:
        self._pool.shutdown(wait=False)
        self.takers.close()
        self.counters.close()

    async def open(self) -> None:
        """The folders are there since the beginning."""

    async def check(self) -> None:
        await self.run(lambda: os.utime(self._staging))

    async def run(self, work: Callable[[], T]) -> T:
        """In a thread. Raises FileNotFoundError, StoreFull, StoreUnavailable."""
        with explained():
            return await self.start(work)

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def put(self, staged: Path, path: str) -> None:
        """Moves a synced file to its place and syncs the folders that changed."""
        target = self._path(path)
        made = self._make_folders(target.parent)
        try:
            os.link(staged, target)
        except FileExistsError:
            raise Occupied from None
        staged.unlink()
        for folder in (target.parent, *made):
            sync_folder(folder)

    def write(self, chunks: list[bytes], path: str) -> asyncio.Future[None]:
        """Puts a blob that is whole in memory to its place, and syncs it."""
        return self._together.write(self._place_of(path), chunks)

    def staged(self, upload_id: UUID) -> Path:
        return self._staging / str(upload_id)

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
        return Path(self._place_of(path))

    def _place_of(self, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise FileNotFoundError(path)
        return f"{self._blobs}/{path}"

    def _walk(self, prefix: str) -> Iterator[Found]:
        for place, _, names in os.walk(self._path(prefix)):
            for name in names:
                path = Path(place, name)
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    stat = path.lstat()
                    if S_ISREG(stat.st_mode):  # a link may lead anywhere, a pipe has no end
                        yield Found(str(path.relative_to(self._blobs)), stat.st_size, stat.st_mtime)

    def _leftovers(self, older_than: float) -> Iterator[Leftover]:
        for path in self._staging.iterdir():
            with contextlib.suppress(FileNotFoundError, ValueError):  # ended meanwhile, or not ours
                stat = path.stat()
                if stat.st_mtime < older_than:
                    yield Leftover(UUID(path.name), path.name, stat.st_size)


class _Blob(io.FileIO):
    """Tells the disk's troubles from those of a reader with what it finds."""

    def readinto(self, buffer: Any) -> int | None:
        with explained():
            return super().readinto(buffer)


class LocalWriter:
    """Small uploads cost one trip to a thread; large ones one a buffer, filled while the last one is written."""

    def __init__(self, store: LocalStore, upload_id: UUID, digest: Digest | None, resumes: int | None = None) -> None:
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
        store._writers.add(self)  # noqa: SLF001 - its own store

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
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._store._pool, self._put, chunks)  # noqa: SLF001 - its own store

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
            os.posix_fadvise(self._file, self._sent, self._size - self._sent, os.POSIX_FADV_DONTNEED)
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
            self._store._path(self._placed).unlink(missing_ok=True)  # noqa: SLF001 - its own store
