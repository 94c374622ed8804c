"""Smaller pictures, made when they are first asked for, and once."""

import asyncio
import io
from typing import IO
from uuid import UUID

from services.upload.blobs.digest import Digest
from services.upload.blobs.locations import Locations
from services.upload.errors import ImageNotFound, ImageUnreadable
from services.upload.files.models import StoredFile
from services.upload.images.decoding import Unreadable, open_image, shrink
from services.upload.images.rules import rung
from services.upload.images.service import ImageService
from services.upload.images.source import fetched
from services.upload.images.thumbnails import repository
from services.upload.images.thumbnails.repository import Kept, path_of
from shared.db import Database
from shared.ids import new_id

QUALITY = 80


class ThumbnailService:
    """One is made at a time, so that a process holds the pixels of one image."""

    def __init__(self, database: Database, locations: Locations, images: ImageService, max_pixels: int) -> None:
        self._database = database
        self._locations = locations
        self._images = images
        self._max_pixels = max_pixels
        self._turn = asyncio.Lock()

    async def file(self, tenant: UUID, image_id: UUID) -> StoredFile:
        """The image it is to be of. Raises ImageNotFound, and ImageUnreadable where that is known."""
        seen = await self._images.get(tenant, image_id)
        if seen.image is not None and seen.image.error is not None:
            raise ImageUnreadable(seen.image.error)
        return seen.file

    async def read(self, file: StoredFile, size: int) -> bytes:
        """WebP, at most as wide and high as the step of the ladder for `size`. Raises ImageUnreadable."""
        size = rung(size)
        async with self._database.transaction(file.tenant_id) as connection:
            kept = await repository.find(connection, file, size)
            if kept is not None and kept.bytes is not None:
                await repository.note_used(connection, file, size)
        if kept is not None and kept.bytes is not None:
            try:
                return await self._stored(kept, kept.bytes)
            except FileNotFoundError:
                pass  # deleted by hand: it is made again
        return await self._make_once(file, size, kept)

    async def _make_once(self, file: StoredFile, size: int, seen: Kept | None) -> bytes:
        """The row says first where the blob will be, and its lock is held while it is made: whoever else asks waits,
        and one who deletes the file finds a row that leads to the blob.
        """
        async with self._turn:
            if seen is None:
                path = path_of(file.tenant_id, file.id, size, new_id())
                async with self._database.transaction(file.tenant_id) as connection:
                    await repository.insert(connection, file, size, path)
            async with self._database.transaction(file.tenant_id) as connection:
                kept = await repository.lock(connection, file, size)
                if kept is None:
                    raise ImageNotFound
                if kept.bytes is not None and (seen is None or seen.bytes is None):
                    return await self._stored(kept, kept.bytes)
                made = await self._make(file, size)
                await self._keep(kept, made)
                await repository.note_made(connection, file, size, len(made))
                return made

    async def _make(self, file: StoredFile, size: int) -> bytes:
        try:
            async with fetched(self._locations, file) as content:
                return await asyncio.to_thread(draw, content, self._max_pixels, size)
        except Unreadable as error:
            raise ImageUnreadable(error.code) from error
        except FileNotFoundError:
            raise ImageNotFound from None

    async def _keep(self, kept: Kept, made: bytes) -> None:
        store = self._locations[kept.location]
        await store.delete(kept.path)  # what somebody left who died
        writer = store.create(new_id(), Digest(), kept.path)
        try:
            await writer.write(made)
            await writer.finish()
            await writer.place(kept.path)
        except BaseException:
            await asyncio.shield(writer.abort())
            raise

    async def _stored(self, kept: Kept, length: int) -> bytes:
        return b"".join([chunk async for chunk in self._locations[kept.location].read(kept.path, 0, length)])


def draw(file: IO[bytes], max_pixels: int, size: int) -> bytes:
    """Raises Unreadable, StoreUnavailable."""
    small = shrink(open_image(file, max_pixels), size)
    small.info.clear()  # nothing that was said about the picture goes along
    made = io.BytesIO()
    small.save(made, "WEBP", quality=QUALITY, method=2)
    return made.getvalue()
