from collections.abc import Callable
from uuid import UUID

import asyncpg

from services.usage.errors import StorageNotCalculated
from services.usage.management.repository import ManagementRepository
from services.usage.management.rules import is_stale
from services.usage.management.schemas import StorageManagementOut
from services.usage.management.snapshot import Management
from shared.clock import Clock
from shared.db import Database

LOOKS = 3  # a tenant that is moved just now is looked at again


class ManagementReader:
    """Gives out what was calculated last, at once, and never calculates: a worker is asked to when that is old."""

    def __init__(self, database: Database, clock: Clock, ask: Callable[[UUID], object]) -> None:
        self._database = database
        self._clock = clock
        self._ask = ask

    async def read(self, tenant: UUID) -> StorageManagementOut:
        """Raises StorageNotCalculated."""
        found = await self.find(tenant)
        if found is None or found.last_calculation is None:
            raise StorageNotCalculated
        now = self._clock.now()
        if is_stale(found.last_calculation, now):
            self._ask(tenant)
        return StorageManagementOut.of(found, now)

    async def find(self, tenant: UUID) -> Management | None:
        found = None
        for _ in range(LOOKS):
            try:
                async with self._database.transaction(tenant) as connection:
                    found = await ManagementRepository(connection).find(tenant)
            except asyncpg.UndefinedTableError:
                continue
            if found is None or not found.lost:
                break
        return found
