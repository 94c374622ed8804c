"""The daily look at every tenant (S4.3). Counters judge themselves at every change, so it must find nothing."""

import logging
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from services.usage.counters.service import CounterService
from services.usage.thresholds.rules import Passed
from shared.clock import Clock
from shared.db import Database, turn
from shared.events import Metric

log = logging.getLogger(__name__)

FINDINGS = Counter("stowage_usage_sweep_findings_total", "What the daily sweep found that should not be", ["kind"])

HOUR = 6  # UTC
PAGE = 200  # tenants locked together, for a few milliseconds

_PAGE = "SELECT tenant_id FROM tenant_usage WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2"

_DRIFT = """
    SELECT u.tenant_id FROM tenant_usage AS u
    LEFT JOIN (SELECT tenant_id, sum(total_size) AS bytes, sum(file_count) AS files,
                      sum(trashed_bytes) AS trashed_bytes, sum(trashed_files) AS trashed_files,
                      sum(version_bytes) AS version_bytes, sum(version_files) AS version_files
               FROM usage_breakdown WHERE tenant_id = ANY($1::uuid[]) GROUP BY tenant_id) AS b USING (tenant_id)
    WHERE u.tenant_id = ANY($1::uuid[])
        AND (u.bytes, u.files, u.trashed_bytes, u.trashed_files, u.version_bytes, u.version_files) <> (
            coalesce(b.bytes, 0), coalesce(b.files, 0), coalesce(b.trashed_bytes, 0), coalesce(b.trashed_files, 0),
            coalesce(b.version_bytes, 0), coalesce(b.version_files, 0))
"""


class Sweep:
    """Runs with the worker's role, once a day, wherever the worker runs."""

    def __init__(self, database: Database, counters: CounterService, clock: Clock) -> None:
        self._database = database
        self._counters = counters
        self._clock = clock

    async def run_when_due(self) -> None:
        """Called often; sweeps once a day, from 06:00 UTC on, even if no worker was up at that minute."""
        now = self._clock.now()
        if now.hour < HOUR:
            return
        async with turn(self._database, "sweep") as connection:
            if connection is None or await connection.fetchval("SELECT true FROM sweep WHERE day = $1", now.date()):
                return
            tenants, findings = await self.run()
            await connection.execute(
                "INSERT INTO sweep (day, tenants, findings, finished_at) VALUES ($1, $2, $3, $4)",
                now.date(),
                tenants,
                findings,
                self._clock.now(),
            )

    async def run(self) -> tuple[int, int]:
        """Looks at all tenants; returns how many there are and how much was found."""
        tenants, findings, last = 0, 0, UUID(int=0)
        while True:
            async with self._database.transaction() as connection:
                page = [row["tenant_id"] for row in await connection.fetch(_PAGE, last, PAGE)]
                if not page:
                    break
                findings += await self._look(connection, page)
            tenants, last = tenants + len(page), page[-1]
        log.info("sweep: %d tenants, %d findings", tenants, findings)
        return tenants, findings

    async def _look(self, connection: Any, tenants: list[UUID]) -> int:
        missed = await self._counters.review(connection, tenants)
        for change in missed:
            passed = [_named("storage", p) for p in change.passed]
            passed += [_named(other.metric, p) for other in change.others for p in other.passed]
            log.error("sweep: tenant %s had passed %s unseen", change.after.tenant_id, passed)
        drifted = await connection.fetch(_DRIFT, tenants)
        for row in drifted:
            log.error("sweep: the breakdown of tenant %s does not sum to its total", row["tenant_id"])
        FINDINGS.labels("threshold").inc(len(missed))
        FINDINGS.labels("breakdown").inc(len(drifted))
        return len(missed) + len(drifted)


def _named(metric: Metric, passed: Passed) -> tuple[Metric, int, str]:
    return metric, passed.passing.level.value, "up" if passed.passing.upward else "down"
