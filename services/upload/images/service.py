"""A tenant's images: what is known of them, and which look alike."""

from typing import Any
from uuid import UUID

from services.upload.errors import ImageNotAnalysed, ImageNotFound
from services.upload.images import repository
from services.upload.images.repository import Listed, Near, Seen
from shared.db import Database
from shared.http import read_position


class ImageService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: UUID, image_id: UUID) -> Seen:
        """Raises ImageNotFound."""
        async with self._database.transaction(tenant) as connection:
            found = await repository.find(connection, image_id)
        if found is None:
            raise ImageNotFound
        return found

    async def list_newest(self, tenant: UUID, limit: int, cursor: list[Any] | None, kind: str | None) -> Listed:
        async with self._database.transaction(tenant) as connection:
            return await repository.list_newest(connection, limit, read_position(cursor), kind)

    async def list_similar(self, tenant: UUID, image_id: UUID, threshold: float, limit: int) -> list[Near]:
        """The most alike first. Raises ImageNotFound, ImageNotAnalysed."""
        seen = await self.get(tenant, image_id)
        if seen.image is None or seen.image.error is not None:
            raise ImageNotAnalysed(seen.image.error if seen.image else None)
        async with self._database.transaction(tenant) as connection:
            return list(await repository.list_similar(connection, tenant, image_id, 1 - threshold, limit))
