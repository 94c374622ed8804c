from collections.abc import Callable, Sequence
from uuid import UUID

from services.usage.counters.reader import CounterReader
from services.usage.counters.service import CounterService
from services.usage.counters.snapshot import Snapshot
from services.usage.thresholds.rules import Threshold
from shared.db import Database
from shared.telemetry import current_traceparent


class ThresholdChoices:
    """Thresholds of a tenant's own. What stands is judged by them before the answer."""

    def __init__(
        self, database: Database, counters: CounterService, reader: CounterReader, wake: Callable[[], object]
    ) -> None:
        self._database = database
        self._counters = counters
        self._reader = reader
        self._wake = wake

    async def choose(self, tenant: UUID, thresholds: Sequence[Threshold] | None) -> Snapshot:
        """None: the usual ones again. Raises EntitlementsUnknown."""
        await self._reader.read(tenant)  # who is asked about for the first time is known from here on
        async with self._database.transaction(tenant) as connection:
            changes = await self._counters.rescale(connection, tenant, thresholds, current_traceparent())
        if any(change.passed for change in changes):
            self._wake()  # the relay has something to publish
        return await self._reader.read(tenant)
