"""Small blobs written together: one thread takes all that wait, and syncs each folder once for all of them."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from services.upload.blobs.disk import write_all
from services.upload.blobs.store import Occupied

AT_ONCE = 2  # rounds on their way to the disk; what comes meanwhile waits for the next one
MOST = 16  # blobs in a round


@dataclass(slots=True)
class _Blob:
    path: str
    chunks: list[bytes]
    done: asyncio.Future[None]


class Together:
    """`make_folders(folder)` creates what is missing above a blob and returns the folders that changed."""

    def __init__(self, threads: Executor, make_folders: Callable[[Path], list[Path]]) -> None:
        self._threads = threads
        self._make_folders = make_folders
        self._waiting: list[_Blob] = []
        self._rounds = 0

    def write(self, path: str, chunks: list[bytes]) -> asyncio.Future[None]:
        """Done when the blob is safe at its place. A crash may leave a part of it: no row names that, so it goes as
        other orphans go. Raises Occupied, OSError.
        """
        loop = asyncio.get_running_loop()
        blob = _Blob(path, chunks, loop.create_future())
        self._waiting.append(blob)
        self._go_on(loop)
        return blob.done

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting and self._rounds < AT_ONCE:
            blobs, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            self._rounds += 1
            self._begin(loop, blobs)

    def _begin(self, loop: asyncio.AbstractEventLoop, blobs: list[_Blob]) -> None:
        def tell(written: asyncio.Future[list[Exception | None]]) -> None:
            self._rounds -= 1
            for blob, error in zip(blobs, written.result(), strict=True):
                if blob.done.cancelled():
                    continue
                if error is None:
                    blob.done.set_result(None)
                else:
                    blob.done.set_exception(error)
            self._go_on(loop)

        loop.run_in_executor(self._threads, self._write, blobs).add_done_callback(tell)

    def _write(self, blobs: list[_Blob]) -> list[Exception | None]:
        """In a thread; why each was not written, if it was not."""
        errors: list[Exception | None] = [None] * len(blobs)
        files: dict[int, int] = {}
        folders: dict[str, list[int]] = {}
        for number, blob in enumerate(blobs):
            try:
                files[number], changed = self._create(blob.path)
                for folder in (os.path.dirname(blob.path), *map(str, changed)):  # noqa: PTH120 - by the thousand a second
                    folders.setdefault(folder, []).append(number)
                write_all(files[number], blob.chunks, 0)
            except (OSError, Occupied) as error:
                errors[number] = error
        for number, file in files.items():
            try:
                os.fsync(file)
            except OSError as error:
                errors[number] = error
            finally:
                with contextlib.suppress(OSError):
                    os.close(file)
        for folder, numbers in folders.items():
            try:
                sync_folder(folder)
            except OSError as error:
                for number in numbers:
                    errors[number] = error
        return errors

    def _create(self, path: str) -> tuple[int, list[Path]]:
        try:
            return _new(path), []
        except FileNotFoundError:
            changed = self._make_folders(Path(path).parent)
            return _new(path), changed


def sync_folder(folder: Path | str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _new(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Occupied from None
