from collections.abc import Callable
from uuid import UUID

from services.usage.errors import TenantNotFound
from services.usage.management.reader import ManagementReader
from services.usage.management.snapshot import Management
from services.usage.tenants.models import Isolation
from services.usage.tenants.repository import TenantRepository
from shared.db import Database


class IsolationService:
    """Where a tenant's storage management is kept. Here it is chosen; a worker moves it."""

    def __init__(self, database: Database, reader: ManagementReader, wake: Callable[[], object]) -> None:
        self._database = database
        self._reader = reader
        self._wake = wake

    async def choose(self, tenant: UUID, isolation: Isolation) -> Management:
        """Raises TenantNotFound."""
        async with self._database.transaction(tenant) as connection:
            if not await TenantRepository(connection).choose_isolation(tenant, isolation):
                raise TenantNotFound
        self._wake()
        return await self.get(tenant)

    async def get(self, tenant: UUID) -> Management:
        """Raises TenantNotFound."""
        found = await self._reader.find(tenant)
        if found is None:
            raise TenantNotFound
        return found
