"""The job: every tenant that moved, each night; of the others, a few. A bounded number a run."""

import asyncio
import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Gauge

from services.upload.reconciliation import repository
from services.upload.reconciliation.report import Report
from services.upload.reconciliation.rules import NOTHING
from services.upload.reconciliation.service import Reconciler, ReconciliationRunning
from shared.clock import Clock
from shared.db import Database
from shared.errors import DomainError

log = logging.getLogger(__name__)

BYTES = Gauge("stowage_upload_drift_bytes", "Bytes by which a side differed when it was last looked at", ["side"])
FILES = Gauge("stowage_upload_drift_files", "Files, images or entries, by which a side differed then", ["side"])
SIDES = ("ledger", "account", "reserved", "images", "objects", "checkpoint", "chain", "columns")

MOVED = 1000  # tenants looked at in one run because they moved
REST = 100  # and because it is a week ago
SECONDS = 300.0  # of one run
REPAIRS = 10  # tenants repaired in one run: more of them is a fault that somebody should see first
HOURS = 6  # of the night
AGAIN = timedelta(hours=12)  # in one night nobody is looked at twice


class Nightly:
    """`hour`: UTC, from which the night counts. `repair`: whether what differs twice is put right."""

    def __init__(self, database: Database, reconciler: Reconciler, clock: Clock, *, hour: int, repair: bool) -> None:
        self._database = database
        self._reconciler = reconciler
        self._clock = clock
        self._hour = hour
        self._repair = repair

    async def turn(self) -> dict[str, Any] | None:
        """By day there is nothing to do."""
        if (self._clock.now().hour - self._hour) % 24 >= HOURS:
            return None
        return await self.run(AGAIN)

    async def run(self, age: timedelta = timedelta(0)) -> dict[str, Any] | None:
        """Those not looked at for `age`. What there was no time for has its turn next time."""
        async with self._database.transaction() as connection:
            due = await repository.list_due(connection, MOVED, age)
            due += await repository.list_rest(connection, REST)
        clock = asyncio.get_running_loop()
        end, done = clock.time() + SECONDS, {"looked": 0, "differing": 0, "repaired": 0, "failed": 0}
        for tenant, whole in due:
            if clock.time() > end:
                break
            await self._look(tenant, done, whole=whole)
        return done if due else None

    async def measure(self) -> None:
        """Each worker tells the same."""
        async with self._database.transaction() as connection:
            drift = await repository.sum_drift(connection)
        for side in SIDES:
            BYTES.labels(side).set(drift.get(side, NOTHING).bytes)
            FILES.labels(side).set(drift.get(side, NOTHING).files)

    async def _look(self, tenant: UUID, done: dict[str, int], *, whole: bool) -> None:
        try:
            report = await self._reconciler.glance(tenant, whole=whole)
            if report is None:
                return
            done["looked"] += 1
            done["differing"] += bool(report.differences)
            done["repaired"] += await self._put_right(report, done["repaired"])
        except Exception:
            log.exception("tenant %s could not be looked at", tenant)
            done["failed"] += 1

    async def _put_right(self, report: Report, before: int) -> bool:
        if not self._repair or not report.ripe or before >= REPAIRS:
            return False
        try:
            result = await self._reconciler.reconcile(report.tenant, repair=True)
        except (ReconciliationRunning, DomainError) as error:
            log.warning("tenant %s is put right another time: %s", report.tenant, error)
            return False
        return bool(result.repaired or result.recounted)
