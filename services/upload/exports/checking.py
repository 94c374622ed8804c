"""A finished archive read back from the store and compared, before anybody is told that it is ready."""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator
from typing import Any

from services.upload.blobs.store import BlobStore
from services.upload.exports import archive, repository
from services.upload.exports.members import Members
from services.upload.exports.rules import Entry

INLINE = 64 * 1024  # bytes hashed without a thread


class NotAsWritten(Exception):
    """The store does not hold what was given to it."""


class _Stream:
    """Bytes in the order in which they lie there."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = _ahead(chunks)
        self._left = memoryview(b"")

    async def take(self, most: int) -> memoryview:
        """Up to so many, at least one. Raises NotAsWritten at the end."""
        while not self._left:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                raise NotAsWritten("the archive ends early")
            self._left = memoryview(chunk)
        taken, self._left = self._left[:most], self._left[most:]
        return taken

    async def expect(self, wanted: bytes, what: str) -> None:
        found = b""
        while len(found) < len(wanted):
            found += await self.take(len(wanted) - len(found))
        if found != wanted:
            raise NotAsWritten(f"{what} is not as it was written")


async def _ahead(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The next one is fetched while one is worked on."""
    coming = asyncio.ensure_future(anext(chunks, None))
    try:
        while (chunk := await coming) is not None:
            coming = asyncio.ensure_future(anext(chunks, None))
            yield chunk
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def _look(digest: Any, piece: memoryview, crc: int) -> int:
    digest.update(piece)
    return zlib.crc32(piece, crc)


async def check(store: BlobStore, export: Any, members: Members) -> list[int]:
    """Numbers of the members whose bytes are not those their file's sha256 was made of: the file itself is damaged.

    Everything else that differs raises NotAsWritten.
    """
    path = repository.path_of(export["tenant_id"], export["id"])
    try:
        return await _check(_Stream(store.read(path, 0, export["size"])), members)
    except FileNotFoundError:
        raise NotAsWritten("the archive is gone") from None
    except OSError as error:
        raise NotAsWritten(str(error)) from error


async def _check(stream: _Stream, members: Members) -> list[int]:
    damaged, count, offset, size = [], 0, 0, 0
    async for entry in members.entries():
        if entry.at is None:
            continue
        count += 1
        if not await _check_member(stream, entry):
            damaged.append(entry.number)
        offset = entry.written[0] + len(entry.header) + entry.written[1] + len(archive.descriptor(0, 0))
    async for entry in members.entries():
        if entry.at is not None:
            record = entry.directory_entry
            await stream.expect(record, "the directory")
            size += len(record)
    await stream.expect(archive.end(count, size, offset), "the end")
    return damaged


async def _check_member(stream: _Stream, entry: Entry) -> bool:
    """Whether it is what its file's sha256 says; a file already known to be damaged passes."""
    await stream.expect(entry.header, entry.name)
    _, size, crc = entry.written
    digest, found, left = hashlib.sha256(), 0, size
    while left:
        piece = await stream.take(left)
        left -= len(piece)
        if len(piece) <= INLINE:
            found = _look(digest, piece, found)
        else:
            found = await asyncio.to_thread(_look, digest, piece, found)
    if found != crc:
        raise NotAsWritten(f"{entry.name} is not as it was written")
    await stream.expect(archive.descriptor(crc, size), entry.name)
    if entry.file is None or entry.problem == "damaged":
        return True
    return bool(digest.hexdigest() == entry.file["sha256"])
