from collections import Counter as Tally
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any
from uuid import UUID

from prometheus_client import Counter, Gauge

from services.usage.counters.rules import Change
from services.usage.counters.service import CounterService
from services.usage.thresholds.rules import Passed
from shared.clock import Clock
from shared.events import Metric
from shared.kafka import Record

EVENTS = Counter("stowage_usage_events_total", "Events applied to counters", ["type"])
ALERTS = Counter("stowage_usage_alerts_total", "Thresholds passed", ["metric", "threshold", "direction"])
LAG = Gauge("stowage_usage_lag_seconds", "Age of the oldest event of the last batch when its counters became visible")


class UsageHandler:
    """What the consumer calls: within the batch's transaction, and once it is committed."""

    def __init__(
        self,
        counters: CounterService,
        clock: Clock,
        *,
        changed: Callable[[UUID], object],
        announced: Callable[[], object],
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._changed = changed  # tells the HTTP processes which tenant moved
        self._announced = announced  # tells the relay that there is something to publish
        self._tries: list[tuple[Sequence[Record], list[Change]]] = []  # since the last commit

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        self._tries.append((records, await self._counters.apply(connection, records)))

    async def replay(self, connection: Any, records: Sequence[Record]) -> None:
        """Records that were left out; the position is past them."""
        for record in records:
            self._tries.append(([record], await self._counters.count_left_out(connection, record)))

    def _committed(self, records: Sequence[Record]) -> list[Change]:
        """What came of these very records, as they were tried last: a batch that failed is tried again one by one."""
        if self._tries and self._tries[-1][0] is records:
            (_, changes), self._tries = self._tries[-1], []
            return changes
        left, found = {id(record) for record in records}, list[Change]()
        for tried, changes in reversed(self._tries):
            if left.issuperset(mine := {id(record) for record in tried}):
                left -= mine
                found += changes
        self._tries = []
        return found

    def on_committed(self, records: Sequence[Record]) -> None:
        self.on_replayed(records)
        with suppress(LookupError, ValueError, TypeError):  # a record without a readable time counts all the same
            LAG.set((self._clock.now() - records[0].time).total_seconds())

    def on_replayed(self, records: Sequence[Record]) -> None:
        """As after any commit; but how old they are says nothing of the consumer."""
        changes = self._committed(records)
        for tenant in {change.after.tenant_id for change in changes}:
            self._changed(tenant)
        if any(change.rings for change in changes):
            self._announced()
        for change in changes:
            _tell("storage", change.passed)
            for other in change.others:
                _tell(other.metric, other.passed)
        for kind, number in Tally(map(_type, records)).items():
            EVENTS.labels(kind).inc(number)


_type = attrgetter("type")


def _tell(metric: Metric, passed: Sequence[Passed]) -> None:
    for passing in (p.passing for p in passed):
        # Amounts are as many as tenants choose; percentages are few.
        threshold = passing.level.percent or "amount"
        ALERTS.labels(metric, threshold, "up" if passing.upward else "down").inc()
