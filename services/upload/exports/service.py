"""Asking for an export, looking how far it is, and fetching it."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from services.upload.blobs.locations import Locations
from services.upload.exports import repository
from services.upload.quota.service import AccountService
from shared.db import Database
from shared.errors import DomainError
from shared.ids import new_id

OPEN = 2  # exports of one tenant that may wait or run


class ExportNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("export_not_found", 404, "There is no such export.")


class ExportService:
    def __init__(self, database: Database, accounts: AccountService, locations: Locations) -> None:
        self._database = database
        self._accounts = accounts
        self._locations = locations

    async def request(self, tenant: UUID, wanted: dict[str, Any], by: UUID | None) -> Any:
        """Raises DomainError 409 `export_running` when enough of them wait already."""
        await self._accounts.state(tenant)  # whoever never stored anything has no account yet
        async with self._database.transaction(tenant) as connection:
            if await repository.count_open(connection) >= OPEN:
                raise DomainError("export_running", 409, "Wait for the exports that are being made.")
            return await repository.create(connection, new_id(), tenant, wanted, by)

    async def get(self, tenant: UUID, export: UUID) -> Any:
        """Raises ExportNotFound."""
        async with self._database.transaction(tenant) as connection:
            found = await repository.find(connection, export)
        if found is None:
            raise ExportNotFound
        return found

    async def list_problems(self, tenant: UUID, export: UUID) -> list[Any]:
        """What could not be put into it, the first hundred; the manifest has all."""
        async with self._database.transaction(tenant) as connection:
            return await repository.list_problems(connection, export, 100)

    async def list_newest(self, tenant: UUID, limit: int, before: UUID | None) -> list[Any]:
        async with self._database.transaction(tenant) as connection:
            return await repository.list_newest(connection, limit, before)

    async def discard(self, tenant: UUID, export: UUID) -> None:
        """Raises ExportNotFound."""
        await self.get(tenant, export)
        async with self._database.transaction(tenant) as connection:
            await repository.discard(connection, tenant, export)

    async def get_ready(self, tenant: UUID, export: UUID) -> Any:
        """Raises ExportNotFound; DomainError 409 `export_not_ready`, 410 `export_expired`."""
        found = await self.get(tenant, export)
        if found["status"] == "expired":
            raise DomainError("export_expired", 410, "The export is not kept any more; ask for a new one.")
        if found["status"] not in ("ready", "incomplete"):
            raise DomainError("export_not_ready", 409, "The export is not ready.", export_status=found["status"])
        return found

    async def open(self, export: Any, start: int, length: int) -> AsyncIterator[bytes]:
        """The archive's bytes. Raises ExportNotFound before the first one."""
        path = repository.path_of(export["tenant_id"], export["id"])
        chunks = self._locations[export["location"]].read(path, start, length)
        try:
            first = await anext(chunks, b"")
        except FileNotFoundError:
            raise ExportNotFound from None
        return _chain(first, chunks)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
