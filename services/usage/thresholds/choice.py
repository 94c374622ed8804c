from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.usage.counters.reader import CounterReader
from services.usage.counters.service import CounterService
from services.usage.metering.meters import METERS
from services.usage.months import timezone_of
from services.usage.thresholds.repository import ThresholdRepository, thresholds_of
from services.usage.thresholds.rules import Level, Threshold
from shared.db import Database
from shared.events import Metric
from shared.telemetry import current_traceparent


@dataclass(frozen=True, slots=True)
class Chosen:
    """A tenant's thresholds of one metric, and which of them are reached; `own`: not the usual ones."""

    metric: Metric
    own: bool
    thresholds: tuple[Threshold, ...]
    reached: frozenset[Level]
    position: int
    as_of: datetime


class ThresholdChoices:
    """Thresholds of a tenant's own. What stands is judged by them before the answer."""

    def __init__(
        self, database: Database, counters: CounterService, reader: CounterReader, wake: Callable[[], object]
    ) -> None:
        self._database = database
        self._counters = counters
        self._reader = reader
        self._wake = wake

    async def get(self, tenant: UUID, metric: Metric) -> Chosen:
        """Raises EntitlementsUnknown."""
        await self._reader.read(tenant)  # who is asked about for the first time is known from here on
        async with self._database.transaction(tenant) as connection:
            zone = (await timezone_of(connection, [tenant]))[tenant]
            row = await ThresholdRepository(connection).get_standing(tenant, metric, zone.key)
        meter, chosen = METERS[metric], row["chosen"]
        # What an older month had reached says nothing of the one that runs.
        stands = row["runs"] if meter.monthly else True
        reached = frozenset(Level(*level) for level in row["reached"]) if stands else frozenset[Level]()
        thresholds = meter.usual if chosen is None else thresholds_of(chosen)
        return Chosen(metric, chosen is not None, thresholds, reached, row["position"], row["as_of"])

    async def choose(self, tenant: UUID, metric: Metric, thresholds: Sequence[Threshold] | None) -> Chosen:
        """None: the usual ones again. Raises EntitlementsUnknown."""
        await self._reader.read(tenant)
        async with self._database.transaction(tenant) as connection:
            changes = await self._counters.rescale(connection, tenant, metric, thresholds, current_traceparent())
        if any(change.rings for change in changes):
            self._wake()  # the relay has something to publish
        return await self.get(tenant, metric)
