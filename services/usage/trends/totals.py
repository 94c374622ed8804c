import logging
from datetime import timedelta

from services.usage.trends.repository import SHOWN, TotalRepository
from shared.clock import Clock
from shared.db import Database

log = logging.getLogger(__name__)

_LATE = timedelta(hours=13)  # after midnight UTC a day is over everywhere, and its last events have come


class DailyTotals:
    """Adds all tenants up, once for each day: nobody who looks at trends walks over tenants."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run_when_due(self) -> int:
        """Called often; adds up the days that are missing, of the last 90. Returns how many."""
        last = (self._clock.now() - _LATE).date() - timedelta(days=1)
        async with self._database.transaction() as connection:
            missing = await TotalRepository(connection).list_missing(last - timedelta(days=SHOWN - 1), last)
        for day in missing:
            # A transaction each: what is added up stays if the worker ends in between.
            async with self._database.transaction() as connection:
                await TotalRepository(connection).add_up(day)
        if missing:
            log.info("totals: %d days added up", len(missing))
        return len(missing)
