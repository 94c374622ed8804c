"""Calculating what a tenant stores by category: one transaction a tenant, one at a time of each. It changes no counter:
where breakdown and total differ, the ledger says which of them is wrong.
"""

import asyncio
import logging
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg
from prometheus_client import Counter

from services.usage.management.repository import ManagementRepository
from services.usage.management.rules import STALE
from services.usage.rebuild.service import Rebuilder
from shared.clock import Clock
from shared.db import Database
from shared.errors import DomainError
from shared.outbox import Listener

log = logging.getLogger(__name__)

CALCULATIONS = Counter("stowage_usage_calculations_total", "Storage calculated by category", ["reason", "outcome"])

CHANNEL = "calculation"
POLL = 60.0  # seconds; notices come at once, this only looks whether the connection still stands
REASON = "calculation"
Outcome = Literal["done", "corrected", "differs", "failed"]
TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DomainError)


class Calculator:
    """Runs with the worker's role."""

    def __init__(self, database: Database, rebuilder: Rebuilder, clock: Clock) -> None:
        self._database = database
        self._rebuilder = rebuilder
        self._clock = clock

    async def calculate(self, tenant: UUID, before: datetime, reason: str) -> bool:
        """Unless it was calculated since `before`. A tenant that fails is told of, and holds up no other."""
        try:
            outcome = await self._attempt(tenant, before)
            if outcome == "differs":
                log.error("calculation: the categories of tenant %s do not sum to its total", tenant)
                await self._rebuilder.run(tenant, REASON, repair=True)
                again = await self._attempt(tenant, before)
                outcome = "failed" if again == "differs" else "corrected"
        except TROUBLE as error:
            log.error("calculation: tenant %s: %r", tenant, error)
            outcome = "failed"
        if outcome is not None:
            CALCULATIONS.labels(reason, outcome).inc()
        return outcome != "failed"

    async def _attempt(self, tenant: UUID, before: datetime) -> Outcome | None:
        """None: there is nothing to do."""
        async with self._database.transaction() as connection:
            management = ManagementRepository(connection)
            if not await management.claim(tenant, before):
                return None
            if not await management.sums_up(tenant):
                return "differs"
            await management.calculate(tenant)
        return "done"

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
