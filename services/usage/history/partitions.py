import logging

from prometheus_client import Gauge

from services.usage.history.buckets import GRAINS, Retention
from shared.clock import Clock
from shared.db import Database

log = logging.getLogger(__name__)

LAST_SUCCESS = Gauge("stowage_usage_history_last_success_seconds", "When history was last kept to its retention")


class HistoryKeeper:
    """Makes the partitions that are needed next, and lets those go that nobody can ask for any more."""

    def __init__(self, database: Database, retention: Retention, clock: Clock) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock

    async def run(self) -> int:
        """Returns how many partitions went. Twice is once; two at a time take turns."""
        now, gone = self._clock.now(), 0
        for grain in GRAINS:
            for metric in ("storage", "traffic"):
                # One transaction each: its locks are held for a moment.
                async with self._database.acquire() as connection:
                    gone += await connection.fetchval(
                        "SELECT keep_history($1, $2, $3, $4)", metric, grain, now, self._retention.horizon(grain, now)
                    )
        LAST_SUCCESS.set(now.timestamp())
        if gone:
            log.info("history: %d partitions are past their retention", gone)
        return gone
