"""Blobs on a local disk: staged, hashed as they come, synced, then linked into their place.

One that is whole before the disk has seen any of it is written to its place at once: half the disk's work.
"""

import asyncio
import contextlib
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

from services.upload.blobs.behind import Counters
from services.upload.blobs.digest import Digest
from services.upload.blobs.disk import explained
from services.upload.blobs.staged import LocalWriter
from services.upload.blobs.store import Found, Leftover, Occupied
from services.upload.blobs.taking import Takers, can_splice
from services.upload.blobs.together import Together, sync_folder

BUFFER = 1024 * 1024  # bytes handed to the disk together, at most
SHARED = 16 * BUFFER  # bytes all uploads under way gather together; each of them may have as much again on its way
LEAST = 64 * 1024  # bytes handed to the disk together when there are very many
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

    def create(self, upload_id: UUID, digest: Digest, path: str | None = None) -> LocalWriter:  # noqa: ARG002
        return self._began(LocalWriter(self, upload_id, digest))

    def resume(
        self,
        upload_id: UUID,
        state: Mapping[str, Any],  # noqa: ARG002 - the file itself is all there is to know
        offset: int,
        digest: Digest | None,
        path: str | None = None,  # noqa: ARG002
    ) -> LocalWriter:
        return self._began(LocalWriter(self, upload_id, digest, resumes=offset))

    async def read(self, path: str, start: int, length: int) -> AsyncIterator[bytes]:
        file = await self.run(lambda: self.place_of(path).open("rb", buffering=0))
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
        file = await self.run(lambda: _Blob(self.place_of(path)))
        if os.fstat(file.fileno()).st_size < size:
            file.close()
            raise OSError(f"{path} is shorter than it was")
        return io.BufferedReader(file)

    async def stat(self, path: str) -> Found | None:
        def look() -> Found | None:
            try:
                stat = self.place_of(path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return Found(path, stat.st_size, stat.st_mtime)

        return await self.run(look)

    async def copy(self, source: str, target: str) -> None:
        """By a second name for the same bytes: a blob is never written again."""

        def link() -> None:
            place = self.place_of(target)
            made = self._make_folders(place.parent)
            with contextlib.suppress(FileExistsError):
                os.link(self.place_of(source), place)
            os.utime(place)  # young again: the sweep for orphans must not take it before its row is there
            for folder in (place.parent, *made):
                sync_folder(folder)

        await self.run(link)

    async def delete(self, path: str) -> None:
        await self.run(lambda: self.place_of(path).unlink(missing_ok=True))

    async def delete_all(self, paths: Sequence[str]) -> None:
        def unlink() -> None:
            for path in paths:
                self.place_of(path).unlink(missing_ok=True)

        await self.run(unlink)

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
        target = self.place_of(path)
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
        return self._together.write(self._text_of(path), chunks)

    def _began(self, writer: LocalWriter) -> LocalWriter:
        self._writers.add(writer)
        return writer

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

    def place_of(self, path: str) -> Path:
        return Path(self._text_of(path))

    def _text_of(self, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise FileNotFoundError(path)
        return f"{self._blobs}/{path}"

    def _walk(self, prefix: str) -> Iterator[Found]:
        for place, _, names in os.walk(self.place_of(prefix)):
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
