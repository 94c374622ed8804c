"""Calculating what a tenant stores by category: one transaction a tenant, one at a time of each."""

import asyncio
import logging
from datetime import datetime
from uuid import UUID

import asyncpg
from prometheus_client import Counter

from services.usage.management.repository import ManagementRepository
from services.usage.management.rules import STALE
from shared.clock import Clock
from shared.db import Database
from shared.outbox import Listener

log = logging.getLogger(__name__)

CALCULATIONS = Counter("stowage_usage_calculations_total", "Storage calculated by category", ["reason", "outcome"])

CHANNEL = "calculation"
POLL = 60.0  # seconds; notices come at once, this only looks whether the connection still stands
TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Calculator:
    """Runs with the worker's role."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def calculate(self, tenant: UUID, before: datetime, reason: str) -> bool:
        """Unless it was calculated since `before`. A tenant that fails is told of, and holds up no other."""
        try:
            async with self._database.transaction() as connection:
                management = ManagementRepository(connection)
                if not await management.claim(tenant, before):
                    return True
                counted = await management.lock_total(tenant)
                total = await management.calculate(tenant)
        except TROUBLE as error:
            log.error("calculation: tenant %s: %r", tenant, error)
            CALCULATIONS.labels(reason, "failed").inc()
            return False
        right = counted in (None, total)
        if not right:
            log.error("calculation: tenant %s had %s bytes counted, its categories sum to %d", tenant, counted, total)
        CALCULATIONS.labels(reason, "done" if right else "corrected").inc()
        return True

    async def run(self) -> None:
        """For ever: what somebody looked at and found old. A notice that is lost is sent again by the next look."""
        async with Listener(self._database.dsn, CHANNEL) as listener:
            while True:
                for heard in await listener.wait(POLL):
                    await self._answer(heard)
                await asyncio.sleep(0)

    async def _answer(self, heard: str) -> None:
        try:
            tenant = UUID(heard)
        except ValueError:  # too many at once are told without their names: they will ask again
            return
        await self.calculate(tenant, self._clock.now() - STALE, "access")
