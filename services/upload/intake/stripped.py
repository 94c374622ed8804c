"""An image that must not say where it was taken. The place can stand anywhere in it, so the whole comes first."""

import asyncio
import hashlib
import mmap
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, TypeVar

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


class Stripped:
    """Used as the Incoming it stands before; what reaches that one has no location any more.

    It waits in `spool`. The space is held as the bytes come. Size and sha256 are those of what is stored.
    """

    def __init__(self, incoming: Incoming, spool: Path | None) -> None:
        self.id = incoming.id
        self.received = 0
        self.space = incoming.space
        self._incoming = incoming
        self._limit = min(incoming.limit, LIMIT)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=spool)  # noqa: SIM115 - closed by `abandon`
        self._waiting: list[bytes] = []
        self._waits = 0

    async def write(self, piece: bytes, expected: int | None = None) -> None:
        """Raises FileTooLarge, QuotaExceeded, NoImageLeft."""
        self.received += len(piece)
        if max(self.received, expected or 0) > self._limit:
            raise FileTooLarge(self._limit)
        await self.space.cover(self.received, expected or self.received + PIECE)
        self._waiting.append(piece)
        self._waits += len(piece)
        if self._waits >= PIECE:
            await self._flush()

    async def drain(self, body: Body, expected: int | None = None) -> None:
        """All of it has to be looked at."""

    async def store(self, placement: Placement, purpose: Purpose) -> Stored | Repeated:
        """Also raises InvalidUpload when the location cannot be taken out for certain. The sender's sha256 is that of
        what was sent.
        """
        await self._flush()
        if purpose.sha256 is not None and purpose.sha256 != await _in_thread(self._sha256):
            raise DigestMismatch
        for span in await _in_thread(self._strip):
            await self._pass_on(span)
        result = await self._incoming.store(placement, replace(purpose, sha256=None))
        self._file.close()
        return result

    async def abandon(self) -> None:
        self._file.close()
        await self._incoming.abandon()

    async def _flush(self) -> None:
        waiting, self._waiting, self._waits = self._waiting, [], 0
        await _in_thread(lambda: self._file.writelines(waiting))

    async def _pass_on(self, span: Span) -> None:
        for start in range(span.start, span.stop, PIECE):
            size = min(PIECE, span.stop - start)
            piece = await _in_thread(lambda: os.pread(self._file.fileno(), size, start))  # noqa: B023 - run at once
            await self._incoming.write(piece, span.stop)

    def _sha256(self) -> str:
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]

    def _strip(self) -> list[Span]:
        if not self.received:
            return []
        self._file.flush()
        with mmap.mmap(self._file.fileno(), 0) as content:
            kind = media.media_type(content[:4096], None)
            try:
                spans = strip(content, kind)
            except LocationStays as error:
                raise InvalidUpload("location_not_removable", str(error)) from error
            content.flush()
        if tells_location(self._file):
            raise InvalidUpload("location_not_removable", "The image still says where it was taken.")
        return spans


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)
