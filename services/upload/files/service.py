"""Finding, reading and deleting a tenant's files."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.blobs.locations import Locations
from services.upload.errors import FileNotFound
from services.upload.files import repository
from services.upload.files.models import StoredFile
from services.upload.quota.service import AccountService
from shared.db import Database
from shared.errors import DomainError


class FileService:
    def __init__(self, database: Database, accounts: AccountService, locations: Locations) -> None:
        self._database = database
        self._accounts = accounts
        self._locations = locations

    async def get(self, tenant: UUID, file_id: UUID) -> StoredFile:
        """Raises FileNotFound."""
        async with self._database.transaction(tenant) as connection:
            return _or_refuse(await repository.find(connection, file_id))

    async def find_by_key(self, tenant: UUID, key: str) -> StoredFile | None:
        """The file an idempotency key has already stored."""
        async with self._database.transaction(tenant) as connection:
            return await repository.find_by_key(connection, key)

    async def list_newest(
        self, tenant: UUID, limit: int, cursor: list[Any] | None, category: str | None
    ) -> list[StoredFile]:
        async with self._database.transaction(tenant) as connection:
            return list(await repository.list_newest(connection, limit, _position(cursor), category))

    async def delete(self, tenant: UUID, file_id: UUID, by: UUID | None) -> None:
        """Raises FileNotFound. The space is free at once; the bytes are removed after the commit."""
        result = await self._accounts.delete(tenant, file_id, by)
        if result.missing:
            raise FileNotFound

    async def delete_by_path(self, tenant: UUID, path: str, by: UUID | None) -> None:
        async with self._database.transaction(tenant) as connection:
            file = _or_refuse(await repository.find_by_path(connection, path))
        await self.delete(tenant, file.id, by)

    async def open(self, file: StoredFile, start: int, length: int) -> AsyncIterator[bytes]:
        """The bytes asked for. Raises FileNotFound when they are gone, before the first one."""
        chunks = self._locations[file.location].read(file.path, start, length)
        try:
            first = await anext(chunks, b"")
        except FileNotFoundError:
            raise FileNotFound from None
        return _chain(first, chunks)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _or_refuse(file: StoredFile | None) -> StoredFile:
    if file is None:
        raise FileNotFound
    return file


def _position(cursor: list[Any] | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        return datetime.fromisoformat(cursor[0]), UUID(cursor[1])
    except (ValueError, TypeError, IndexError):
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.") from None
