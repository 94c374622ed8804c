"""Finding and reading a tenant's files."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from services.upload.blobs.locations import Locations
from services.upload.errors import FileNotFound
from services.upload.files import pages, repository
from services.upload.files.listing import Filters, Listed, Position
from services.upload.files.models import StoredFile
from services.upload.files.ranges import Span
from shared.db import Database


class BytesGone(LookupError):
    """The bytes are not where the row said: deleted, replaced or moved since it was read."""


class FileService:
    def __init__(self, database: Database, locations: Locations) -> None:
        self._database = database
        self._locations = locations

    async def get(self, tenant: UUID, file_id: UUID) -> StoredFile:
        """Also one in the trash, but no older version. Raises FileNotFound."""
        async with self._database.transaction(tenant) as connection:
            return _or_refuse(await repository.find(connection, file_id))

    async def get_live(self, tenant: UUID, file_id: UUID) -> StoredFile:
        """Raises FileNotFound, for what is in the trash too."""
        file = await self.get(tenant, file_id)
        return _or_refuse(None if file.trashed_at is not None else file)

    async def find_by_key(self, tenant: UUID, key: str) -> StoredFile | None:
        """The file an idempotency key has already stored."""
        async with self._database.transaction(tenant) as connection:
            return await repository.find_by_key(connection, key)

    async def list_page(self, tenant: UUID, filters: Filters, cursor: list[Any] | None, limit: int) -> Listed:
        """Raises DomainError for a cursor of another list."""
        position = Position.of(filters, cursor)
        async with self._database.transaction(tenant) as connection:
            return await pages.read_page(connection, filters, position, limit)

    async def ids_by_path(self, tenant: UUID, paths: list[str]) -> dict[str, UUID]:
        async with self._database.transaction(tenant) as connection:
            return await repository.ids_by_path(connection, paths)

    async def list_versions(self, tenant: UUID, file_id: UUID) -> list[StoredFile]:
        """Older versions, newest first. Raises FileNotFound."""
        async with self._database.transaction(tenant) as connection:
            _or_refuse(await repository.find(connection, file_id))
            return await repository.list_versions(connection, file_id)

    async def get_version(self, tenant: UUID, file_id: UUID, version: UUID) -> StoredFile:
        """Raises FileNotFound, also when the file itself is in the trash."""
        await self.get_live(tenant, file_id)
        async with self._database.transaction(tenant) as connection:
            return _or_refuse(await repository.find_version(connection, file_id, version))

    async def bytes_aside(self, tenant: UUID) -> tuple[int, int]:
        """Bytes in the trash, and bytes of older versions: both are counted in what is used."""
        async with self._database.transaction(tenant) as connection:
            return await repository.sum_aside(connection)

    async def open(self, file: StoredFile, span: Span) -> tuple[bytes, AsyncIterator[bytes]]:
        """The first bytes asked for, and the rest. Raises BytesGone before the first one."""
        chunks = self._locations[file.location].read(file.path, span.start, span.length)
        try:
            return await anext(chunks, b""), chunks
        except FileNotFoundError:
            raise BytesGone from None


def _or_refuse(file: StoredFile | None) -> StoredFile:
    if file is None:
        raise FileNotFound
    return file
