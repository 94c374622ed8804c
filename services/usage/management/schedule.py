"""Every tenant's storage once a day, when little else goes on (S0.4)."""

import logging
from datetime import datetime
from uuid import UUID

from services.usage.management.calculation import Calculator
from services.usage.management.repository import ManagementRepository
from shared.clock import Clock
from shared.db import Database, turn

log = logging.getLogger(__name__)

PAGE = 500
_DONE = "SELECT true FROM calculation_run WHERE day = $1"


class CalculationSchedule:
    """`hour` in UTC. Runs with the worker's role, once a day, wherever the worker runs."""

    def __init__(self, database: Database, calculator: Calculator, clock: Clock, hour: int) -> None:
        self._database = database
        self._calculator = calculator
        self._clock = clock
        self._hour = hour

    async def run_when_due(self) -> None:
        """Called often; calculates once a day from the hour on, even if no worker was up at that minute."""
        now = self._clock.now()
        if now.hour < self._hour:
            return
        async with turn(self._database, "calculation") as connection:
            if connection is None or await connection.fetchval(_DONE, now.date()):
                return
            tenants, failed = await self.run(now.replace(hour=self._hour, minute=0, second=0, microsecond=0))
            await connection.execute(
                "INSERT INTO calculation_run (day, tenants, failed, finished_at) VALUES ($1, $2, $3, $4)",
                now.date(),
                tenants,
                failed,
                self._clock.now(),
            )

    async def run(self, begun: datetime) -> tuple[int, int]:
        """All tenants not calculated since `begun`, so that a run that died goes on; returns how many, and how many
        of them failed.
        """
        tenants, failed, last = 0, 0, UUID(int=0)
        while True:
            async with self._database.transaction() as connection:
                page = await ManagementRepository(connection).list_older(last, begun, PAGE)
            if not page:
                break
            for tenant in page:
                failed += not await self._calculator.calculate(tenant, begun, "schedule")
            tenants, last = tenants + len(page), page[-1]
            log.info("calculation: %d tenants, %d failed", tenants, failed)
        return tenants, failed
