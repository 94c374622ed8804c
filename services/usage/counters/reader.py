from uuid import UUID

from services.usage.counters.repository import CounterRepository
from services.usage.counters.snapshot import Snapshot
from services.usage.entitlements.service import EntitlementService
from services.usage.errors import EntitlementsUnknown
from shared.db import Database


class CounterReader:
    """Usage as it stands. A tenant nobody has heard of yet is looked up in billing, once, and never guessed."""

    def __init__(self, database: Database, entitlements: EntitlementService) -> None:
        self._database = database
        self._entitlements = entitlements

    async def read(self, tenant: UUID) -> Snapshot:
        """Raises EntitlementsUnknown."""
        usage = await self._find(tenant)
        if usage is None or not usage.terms.known:
            await self._entitlements.learn(tenant)
            usage = await self._find(tenant)
        if usage is None or not usage.terms.known:
            raise EntitlementsUnknown
        return usage

    async def _find(self, tenant: UUID) -> Snapshot | None:
        async with self._database.transaction(tenant) as connection:
            return await CounterRepository(connection).find_snapshot(tenant)
