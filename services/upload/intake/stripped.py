"""An image that must not say where it was taken. The place can stand anywhere in it, so the whole comes first."""

import asyncio
import hashlib
import mmap
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import IO, TypeVar
from uuid import uuid4

from services.upload.blobs.digest import Digest
from services.upload.blobs.store import BlobStore
from services.upload.errors import DigestMismatch, FileTooLarge, InvalidUpload
from services.upload.intake.acceptance import Purpose, Repeated, Stored
from services.upload.intake.incoming import Incoming
from services.upload.intake.placement import Placement
from services.upload.media import rules as media
from services.upload.media.location import LocationStays, Span, strip, tells_location
from shared.http import Body

LIMIT = 64 * 1024 * 1024  # bytes of an image that waits outside the store
PIECE = 1024 * 1024

T = TypeVar("T")


def strippable(limit: int) -> int:
    """Bytes an image may have that waits, where others may have `limit`."""
    return min(limit, LIMIT)


def check_strippable(size: int) -> None:
    """Raises FileTooLarge for what would not be waited for."""
    if size > LIMIT:
        raise FileTooLarge(LIMIT)


class Photo:
    """`write` all of it, `strip` it once, then take the `pieces` that stay. It waits in a file without a name in
    `spool`.
    """

    def __init__(self, spool: Path | None) -> None:
        self.size = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=spool)  # noqa: SIM115 - closed by `close`
        self._waiting: list[bytes] = []
        self._waits = 0

    async def write(self, piece: bytes) -> None:
        self.size += len(piece)
        self._waiting.append(piece)
        self._waits += len(piece)
        if self._waits >= PIECE:
            await self._flush()

    async def strip(self, wanted: Iterable[str | None]) -> list[Span]:
        """What stays. `wanted`: what the sha256 of what was written should be, in hex. Raises DigestMismatch, and
        InvalidUpload when the location cannot be taken out for certain.
        """
        await self._flush()
        said = {sha256 for sha256 in wanted if sha256 is not None}
        if said and said != {await _in_thread(self._sha256)}:
            raise DigestMismatch
        return await _in_thread(self._strip)

    async def pieces(self, spans: Iterable[Span]) -> AsyncIterator[bytes]:
        for span in spans:
            for start in range(span.start, span.stop, PIECE):
                size = min(PIECE, span.stop - start)
                yield await _in_thread(lambda: os.pread(self._file.fileno(), size, start))  # noqa: B023 - run at once

    def close(self) -> None:
        self._file.close()

    async def _flush(self) -> None:
        waiting, self._waiting, self._waits = self._waiting, [], 0
        await _in_thread(lambda: self._file.writelines(waiting))

    def _sha256(self) -> str:
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]

    def _strip(self) -> list[Span]:
        if not self.size:
            return []
        self._file.flush()
        with mmap.mmap(self._file.fileno(), 0) as content:
            kind = media.media_type(content[:4096], None)
            try:
                spans = strip(content, kind)
            except LocationStays as error:
                raise InvalidUpload("location_not_removable", str(error)) from error
            content.flush()
        if tells_location(self._file, kind):
            raise InvalidUpload("location_not_removable", "The image still says where it was taken.")
        return spans


class Stripped:
    """Used as the Incoming it stands before; what reaches that one has no location any more.

    The space is held as the bytes come. Size and sha256 are those of what is stored.
    """

    def __init__(self, incoming: Incoming, spool: Path | None) -> None:
        self.id = incoming.id
        self.received = 0
        self.space = incoming.space
        self._incoming = incoming
        self._limit = strippable(incoming.limit)
        self._photo = Photo(spool)

    async def write(self, piece: bytes, expected: int | None = None) -> None:
        """Raises FileTooLarge, QuotaExceeded, NoImageLeft."""
        self.received += len(piece)
        if max(self.received, expected or 0) > self._limit:
            raise FileTooLarge(self._limit)
        await self.space.cover(self.received, expected or self.received + PIECE)
        await self._photo.write(piece)

    async def drain(self, body: Body, expected: int | None = None) -> None:
        """All of it has to be looked at."""

    async def store(self, placement: Placement, purpose: Purpose, path: str | None = None) -> Stored | Repeated:
        """Also raises InvalidUpload when the location cannot be taken out for certain. The sender's sha256 is that of
        what was sent.
        """
        spans = await self._photo.strip((purpose.sha256,))
        size = sum(map(len, spans))
        async for piece in self._photo.pieces(spans):
            await self._incoming.write(piece, size)
        result = await self._incoming.store(placement, replace(purpose, sha256=None), path)
        self._photo.close()
        return result

    async def abandon(self) -> None:
        self.close()
        await self._incoming.abandon()

    def close(self) -> None:
        self._photo.close()


async def write_stripped(
    chunks: AsyncIterator[bytes], store: BlobStore, path: str, spool: Path | None, wanted: Iterable[str | None] = ()
) -> Digest:
    """A blob at `path`, visible all at once, of `chunks` without their location; `wanted` as in Photo. Raises what the
    chunks and Photo raise, StoreUnavailable, StoreFull; then there is none.
    """
    photo, digest = Photo(spool), Digest()
    writer = store.create(uuid4(), digest, path)
    try:
        async for chunk in chunks:
            await photo.write(chunk)
        async for piece in photo.pieces(await photo.strip(wanted)):
            await writer.write(piece)
        await writer.finish()
        await writer.place(path)
    except BaseException:
        await asyncio.shield(asyncio.ensure_future(writer.abort()))
        raise
    finally:
        photo.close()
    return digest


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)
