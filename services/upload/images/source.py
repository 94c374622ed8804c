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

IN_MEMORY = 16 * 1024 * 1024  # bytes of a copy
_COPIED = "image/tiff"  # libtiff reads past Python: a disk that fails would look like a broken image


@asynccontextmanager
async def fetched(locations: Locations, file: StoredFile) -> AsyncIterator[IO[bytes]]:
    """Where it lies if that is here, else a copy. Raises Unreadable for what is no image, FileNotFoundError,
    StoreUnavailable; the latter also while it is read.
    """
    if file.content_type not in FORMATS:
        raise Unreadable("not_an_image")
    if file.size > LARGEST_FILE:
        raise Unreadable("image_too_large")
    store = locations[file.location]
    if file.content_type != _COPIED and (here := await store.open_file(file.path, file.size)) is not None:
        with here:
            yield here
        return
    spool = None if locations.spool is None else str(locations.spool)
    with tempfile.SpooledTemporaryFile(IN_MEMORY, dir=spool) as copy:
        async for chunk in store.read(file.path, 0, file.size):
            if file.size <= IN_MEMORY:
                copy.write(chunk)
            else:
                await asyncio.to_thread(copy.write, chunk)
        copy.seek(0)
        yield copy
