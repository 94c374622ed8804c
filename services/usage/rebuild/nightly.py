"""Every night all counters against all ledgers, from where the last night ended; once a week from the first entry on,
for what was added up before is a copy, too.
"""

import logging
from datetime import timedelta

from prometheus_client import Gauge

from services.usage.rebuild import repository
from services.usage.rebuild.service import Rebuilder
from shared.clock import Clock
from shared.db import Database, turn

log = logging.getLogger(__name__)

DRIFT = Gauge("stowage_usage_drift_tenants", "Tenants whose counters were not what their ledger sums to, last night")
AHEAD = Gauge("stowage_usage_ahead_tenants", "Tenants counted further than their ledger goes, last night")

REASON = "nightly"
WEEK = timedelta(days=6, hours=12)  # nights begin at about the same hour


class NightlyComparison:
    """`hour` in UTC. Runs with the worker's role, once a day, wherever the worker runs."""

    def __init__(self, database: Database, rebuilder: Rebuilder, clock: Clock, hour: int, *, repair: bool) -> None:
        self._database = database
        self._rebuilder = rebuilder
        self._clock = clock
        self._hour = hour
        self._repair = repair

    async def run_when_due(self) -> None:
        """Called often; compares once a day from the hour on, even if no worker was up at that minute."""
        now = self._clock.now()
        if now.hour < self._hour:
            return
        async with turn(self._database, REASON) as connection:
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
            if connection is None or await repository.is_done(connection, REASON, midnight):
                return
            resume = await repository.is_done(connection, REASON, now - WEEK, whole=True)
            done = (await self._rebuilder.run(None, REASON, repair=self._repair, resume=resume)).done
        log.info("nightly: %d tenants, %d differ, %d put right", done.tenants, done.differing, done.repaired)

    async def measure(self) -> None:
        """Sets the gauges, in every worker, to what one of them found."""
        async with self._database.transaction() as connection:
            newest = await repository.find_newest(connection, REASON)
        if newest is not None:
            DRIFT.set(newest.differing - newest.repaired)
            AHEAD.set(newest.ahead)
