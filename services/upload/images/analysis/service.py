"""Looks at every stored image once, after it is settled."""

import asyncio
from uuid import UUID

from services.upload.blobs.locations import Locations
from services.upload.files import repository as files
from services.upload.files.models import StoredFile
from services.upload.images import repository
from services.upload.images.analysis.embedder import Embedder
from services.upload.images.analysis.facts import Facts, look
from services.upload.images.decoding import Unreadable
from services.upload.images.source import fetched
from shared.db import Database


class ImageAnalysis:
    """One image at a time, so that a worker holds the pixels of one."""

    def __init__(self, database: Database, locations: Locations, embedder: Embedder, max_pixels: int) -> None:
        self._database = database
        self._locations = locations
        self._embedder = embedder
        self._max_pixels = max_pixels
        self._turn = asyncio.Lock()

    async def analyse(self, tenant: UUID, file_id: UUID) -> None:
        """What cannot be read is recorded, and not tried again; a store that does not answer raises."""
        async with self._database.transaction(tenant) as connection:
            file = await files.find(connection, file_id)
        if file is None:
            return
        try:
            facts = await self._look(file)
        except FileNotFoundError:
            return  # replaced or deleted meanwhile: whatever is there now has a task of its own
        except Unreadable as error:
            async with self._database.transaction(tenant) as connection:
                await repository.upsert_error(connection, file, error.code)
            return
        async with self._database.transaction(tenant) as connection:
            await repository.upsert_facts(connection, file, facts, self._embedder.name)

    async def _look(self, file: StoredFile) -> Facts:
        async with self._turn, fetched(self._locations, file) as content:
            return await asyncio.to_thread(look, content, self._max_pixels, self._embedder)
