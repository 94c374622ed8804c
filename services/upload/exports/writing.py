"""One export's archive, written straight into the store. What was safe at a checkpoint is not written again."""

import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from services.upload.blobs.digest import Digest
from services.upload.blobs.store import BlobStore, BlobWriter
from services.upload.exports import archive, repository
from services.upload.exports.members import Members
from services.upload.exports.rules import Entry
from shared import faults
from shared.db import Database

CHECKPOINT_BYTES = 256 * 1024 * 1024
CHECKPOINT_MEMBERS = 5_000


class Unwanted(Exception):
    """Somebody deleted the export while it was made."""


class _Counting(Digest):
    """Every member is hashed when the archive is read back; hashing the whole would prove no more."""

    def update(self, chunks: Any) -> None:
        self.size += sum(map(len, chunks))


class ArchiveWriter:
    """`write` until it is in its place; `suspend` keeps what was safe, for the process that goes on."""

    def __init__(self, database: Database, store: BlobStore, export: Any, members: Members) -> None:
        self._database = database
        self._export = export
        self._members = members
        self._path = repository.path_of(export["tenant_id"], export["id"])
        self._offset: int = export["written"]
        self._safe = self._offset
        self._noted: list[Entry] = []
        self._writer: BlobWriter
        if export["resume"] is None:
            self._offset = self._safe = 0
            self._writer = store.create(export["upload_id"], _Counting(), self._path)
        else:
            self._writer = store.resume(export["upload_id"], export["resume"], self._offset, None, self._path)

    async def write(self) -> int:
        """Returns the archive's size. Raises Unwanted, StoreUnavailable, StoreFull."""
        async with self._database.transaction() as connection:
            first = await repository.first_unwritten(connection, self._export["id"])
        if first:
            async for entry, chunks in self._members.contents(first - 1):
                self._noted.append(_lean(await self._write(entry, chunks)))
                await self._save(always=entry.file is None)  # the manifest is made of what has been noted
        await self._finish()
        await self._writer.finish()
        await self._writer.place(self._path)
        faults.reach("upload.exported")
        return self._offset

    async def suspend(self) -> None:
        await self._writer.suspend()

    async def abort(self) -> None:
        await self._writer.abort()

    async def _write(self, entry: Entry, chunks: AsyncIterator[bytes] | None) -> Entry:
        if chunks is None:
            return entry if entry.problem else replace(entry, problem="missing")
        at, size, crc = self._offset, 0, 0
        if entry.file is not None and entry.file["size"] == 0:
            chunks = _nothing()
        await self._put(entry.header)
        async for chunk in chunks:
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
            await self._put(chunk)
        await self._put(archive.descriptor(crc, size))
        short = entry.file is not None and size != entry.file["size"]
        return replace(entry, at=at, size=size, crc=crc, problem="damaged" if short else entry.problem)

    async def _finish(self) -> None:
        """The directory; made anew from the rows by whoever goes on."""
        begins, members = self._offset, 0
        async for entry in self._members.entries():
            if entry.at is not None:
                await self._put(entry.directory_entry)
                members += 1
        await self._put(archive.end(members, self._offset - begins, begins))

    async def _put(self, chunk: bytes) -> None:
        await self._writer.write(chunk)
        self._offset += len(chunk)

    async def _save(self, *, always: bool) -> None:
        grown = self._offset - self._safe
        if not always and grown < CHECKPOINT_BYTES and len(self._noted) < CHECKPOINT_MEMBERS:
            return
        resume = await self._writer.checkpoint()
        async with self._database.transaction() as connection:
            wanted = await repository.note(connection, self._export["id"], self._offset, resume, self._noted)
        if not wanted:
            raise Unwanted
        self._safe, self._noted = self._offset, []
        faults.reach("upload.exporting")


def _lean(entry: Entry) -> Entry:
    """Thousands wait for a checkpoint, which asks of their files only whether there is one."""
    return entry if entry.file is None else replace(entry, file={})


async def _nothing() -> AsyncIterator[bytes]:
    yield b""
