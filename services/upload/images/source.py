"""A stored image's bytes where Pillow can move about in them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

from services.upload.blobs.locations import Locations
from services.upload.files.models import StoredFile
from services.upload.images.decoding import LARGEST_FILE, Unreadable
from services.upload.images.rules import FORMATS

IN_MEMORY = 16 * 1024 * 1024  # bytes


@asynccontextmanager
async def fetched(locations: Locations, file: StoredFile) -> AsyncIterator[IO[bytes]]:
    """Raises Unreadable for what is no image, FileNotFoundError, StoreUnavailable."""
    if file.content_type not in FORMATS:
        raise Unreadable("not_an_image")
    if file.size > LARGEST_FILE:
        raise Unreadable("image_too_large")
    spool = None if locations.spool is None else str(locations.spool)
    with tempfile.SpooledTemporaryFile(IN_MEMORY, dir=spool) as copy:
        async for chunk in locations[file.location].read(file.path, 0, file.size):
            if file.size <= IN_MEMORY:
                copy.write(chunk)
            else:
                await asyncio.to_thread(copy.write, chunk)
        copy.seek(0)
        yield copy
