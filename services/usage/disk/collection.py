"""Asking the engine, daily at 04:00 UTC (S4.2) and whenever an administrator wants it."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from prometheus_client import Counter, Gauge

from services.usage.counters.rules import Change
from services.usage.counters.service import CounterService
from services.usage.disk import rules
from services.usage.disk.engine import DockerEngine, EngineUnavailable, Report
from services.usage.disk.repository import DiskRepository
from services.usage.disk.rules import Labels
from services.usage.metering.repository import MonthRepository
from services.usage.thresholds.repository import ThresholdRepository
from services.usage.thresholds.sweep import FINDINGS
from shared.clock import Clock
from shared.db import Database, turn

log = logging.getLogger(__name__)

BYTES = Gauge("stowage_usage_disk_bytes", "On the Docker Engine's disk, by the newest successful run", ["kind"])
SUCCESS = Gauge("stowage_usage_disk_last_success_seconds", "When the newest successful run ended, since the epoch")
FAILURES = Counter("stowage_usage_disk_failures_total", "Runs without a result", ["reason"])

HOUR = 4  # UTC
RETRY = timedelta(hours=1)  # after a failure of the daily run
KINDS = {
    "volumes": "volumes_bytes",
    "images": "images_bytes",
    "unassigned_volumes": "unassigned_volumes_bytes",
    "unassigned_images": "unassigned_images_bytes",
}


class DiskCollection:
    """Runs with the worker's role, wherever the worker runs. Without an engine it refuses what is asked for."""

    def __init__(
        self,
        database: Database,
        engine: DockerEngine | None,
        labels: Labels,
        counters: CounterService,
        clock: Clock,
    ) -> None:
        self._database = database
        self._engine = engine
        self._labels = labels
        self._counters = counters
        self._clock = clock
        self._said: str | None = None

    async def run_when_due(self) -> None:
        """Called often; the daily run comes once a day, even if no worker was up at that minute."""
        async with turn(self._database, "disk") as mine:
            if mine is not None and (run := await self._begin()) is not None:
                await self._collect(run)

    async def measure(self) -> None:
        """Sets the gauges, in every worker, to what one of them found."""
        async with self._database.transaction() as connection:
            run = await DiskRepository(connection).find_last_done()
        if run is not None:
            SUCCESS.set(run["finished_at"].timestamp())
            for kind, column in KINDS.items():
                BYTES.labels(kind).set(run[column])

    async def _begin(self) -> UUID | None:
        now = self._clock.now()
        async with self._database.transaction() as connection:
            runs = DiskRepository(connection)
            await runs.close_dead(now)
            requested = await runs.start_requested(now)
            if requested is not None or self._engine is None or now.hour < HOUR:
                return requested
            due = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
            return await runs.start_daily(now, due, now - RETRY)

    async def _collect(self, run: UUID) -> None:
        try:
            if self._engine is None:
                raise EngineUnavailable("off", "DOCKER_URL is not set")
            report = await self._engine.read()
            await self._save(run, report)
        except EngineUnavailable as error:
            await self._fail(run, error.reason, str(error))
        except Exception as error:
            await self._fail(run, "failed", type(error).__name__)
            raise
        else:
            if self._said is not None:
                log.info("disk: the Docker Engine answers again")
            self._said = None
            await self.measure()

    async def _save(self, run: UUID, report: Report) -> None:
        # Tens of thousands take a second, and the loop has other work.
        tally = await asyncio.to_thread(rules.tally, report.volumes, report.images, self._labels)
        async with self._database.transaction() as connection:
            kept = await DiskRepository(connection).finish(
                run,
                self._clock.now(),
                (report.engine, report.api),
                tally.projects,
                tally.unassigned,
                tally.mislabelled,
            )
            if kept:
                # Whoever is choosing thresholds now is waited for, and seen.
                await MonthRepository(connection).lock_disks()
                concerned = await ThresholdRepository(connection).list_concerned("disk")
                _tell_missed(await self._counters.review(connection, concerned))
        if not kept:
            log.warning("disk: another worker has taken run %s over", run)

    async def _fail(self, run: UUID, reason: str, told: str) -> None:
        FAILURES.labels(reason).inc()
        # An engine that is away stays away for long: that is said once, until something else is wrong.
        if self._said != told:
            log.warning("disk: nothing measured: %s", told)
            self._said = told
        async with self._database.transaction() as connection:
            await DiskRepository(connection).fail(run, self._clock.now(), told)


def _tell_missed(reviewed: Sequence[Change]) -> None:
    """What a run passes of disk usage is seen here first; of any other metric it should have been seen before."""
    missed = [c for c in reviewed if c.passed or any(other.metric != "disk" for other in c.others)]
    for change in missed:
        log.error("disk: tenant %s had passed thresholds of other metrics unseen", change.after.tenant_id)
    FINDINGS.labels("threshold").inc(len(missed))
