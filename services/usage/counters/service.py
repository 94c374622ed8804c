from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from uuid import UUID

from services.usage.counters.correction import Correction
from services.usage.counters.repository import CounterRepository
from services.usage.counters.rules import Change, adjust, count_left_out, fold, grant, rescale, review
from services.usage.counters.tally import NOTHING, Hidden
from services.usage.entitlements.rules import Terms
from services.usage.history.buckets import RETENTION, Retention
from services.usage.history.repository import HistoryRepository
from services.usage.metering.meters import TELLING
from services.usage.metering.service import MeterService, by_tenant
from services.usage.months import timezone_of
from services.usage.thresholds.repository import ThresholdRepository
from services.usage.thresholds.rules import DEFAULTS, Crossings, Scale, Threshold
from services.usage.thresholds.service import ThresholdService
from services.usage.traffic.repository import ProjectRepository
from services.usage.users.repository import UserRepository
from shared.clock import Clock
from shared.events import Metric
from shared.kafka import Record

# Topics of which most records are nothing to count by: no counters are locked, or begun, for those.
_PARTLY = frozenset({"tenants.v1", "billing.v1"})

NO_OTHERS: Mapping[UUID, Sequence[Crossings]] = MappingProxyType({})


class CounterService:
    """Brings counters, thresholds and their announcements forward together, in the caller's transaction."""

    def __init__(
        self, thresholds: ThresholdService, clock: Clock, *, slack: int = 0, retention: Retention = RETENTION
    ) -> None:
        """`slack`: percent below a threshold at which it is armed again. `retention`: of history."""
        self._thresholds = thresholds
        self._clock = clock
        self._slack = slack
        self._retention = retention
        self._meters = MeterService(clock, slack)

    async def apply(self, connection: Any, records: Sequence[Record]) -> list[Change]:
        """Applies a batch, each tenant's records in their order; repeats change nothing."""
        entries = _by_tenant(r for r in records if r.topic not in _PARTLY or type(r.event) in TELLING)
        counters, now = CounterRepository(connection), self._clock.now()
        held, zones = await counters.lock(entries, now, self._slack), await timezone_of(connection, entries)
        changes = [fold(held[tenant], mine, zones[tenant]) for tenant, mine in entries.items()]
        others = await self._meters.count(connection, held, entries, zones)
        return await self._keep(connection, changes, others)

    async def count_left_out(self, connection: Any, record: Record) -> list[Change]:
        """Applies one record that the consumer went past without its effect. That it is once is the caller's care."""
        if record.topic in _PARTLY and type(record.event) not in TELLING:
            return []
        counters = CounterRepository(connection)
        tenant = record.tenant_id
        held = await counters.lock([tenant], self._clock.now(), self._slack)
        zones = await timezone_of(connection, [tenant])
        others = await self._meters.count(connection, held, {tenant: [record]}, zones, left_out=True)
        return await self._keep(connection, [count_left_out(held[tenant], record, zones[tenant])], others)

    async def grant(self, connection: Any, tenant: UUID, terms: Terms, traceparent: str | None) -> list[Change]:
        """Stores what billing answered, unless something newer is known, and judges the usage by it."""
        counters, now = CounterRepository(connection), self._clock.now()
        held = (await counters.lock([tenant], now, self._slack))[tenant]
        zones = await timezone_of(connection, [tenant])
        others = await self._meters.grant(connection, held, terms, zones[tenant], traceparent)
        return await self._keep(connection, [grant(held, terms, now, traceparent)], {tenant: others})

    async def review(self, connection: Any, tenants: Sequence[UUID]) -> list[Change]:
        """Begins the months that have come, judges what stands and puts right what was missed; returns that."""
        counters, now = CounterRepository(connection), self._clock.now()
        held = await counters.lock(tenants, now, self._slack)
        reviewed = await self._meters.review(connection, held, await timezone_of(connection, tenants))
        await self._thresholds.note(connection, reviewed.begun)
        missed = by_tenant(reviewed.missed)
        return await self._keep(connection, [review(state, now) for state in held.values()], missed)

    async def adjust(self, connection: Any, corrections: Mapping[UUID, Correction]) -> list[Change]:
        """Puts counters right by what is given, and judges them by it; returns how each stands now."""
        counters, now = CounterRepository(connection), self._clock.now()
        held = await counters.lock(corrections, now, self._slack)
        zones = await timezone_of(connection, corrections)
        changes = [adjust(held[tenant], found, now, zones[tenant]) for tenant, found in corrections.items()]
        images = {tenant: found.images for tenant, found in corrections.items() if found.images}
        others = await self._meters.recount(connection, held, images, zones) if images else {}
        await self._keep(connection, changes, others)
        return changes

    async def rescale(
        self,
        connection: Any,
        tenant: UUID,
        metric: Metric,
        thresholds: Sequence[Threshold] | None,
        traceparent: str | None,
    ) -> list[Change]:
        """Other thresholds of one metric, None for the usual ones; what stands is judged by them at once."""
        counters, now = CounterRepository(connection), self._clock.now()
        await self._meters.prepare(connection, metric)
        held = (await counters.lock([tenant], now, self._slack))[tenant]
        await ThresholdRepository(connection).choose(tenant, metric, thresholds, now)
        if metric == "storage":
            scale = Scale(DEFAULTS if thresholds is None else tuple(thresholds), self._slack)
            return await self._keep(connection, [rescale(held, scale, now, traceparent)])
        zones = await timezone_of(connection, [tenant])
        others = await self._meters.rescale(connection, held, metric, zones[tenant], traceparent)
        return await self._keep(connection, [Change(held, held)], {tenant: others})

    async def _keep(
        self, connection: Any, changes: Sequence[Change], others: Mapping[UUID, Sequence[Crossings]] = NO_OTHERS
    ) -> list[Change]:
        kept = [change for change in changes if change.differs]
        if kept:
            await CounterRepository(connection).save(kept, self._clock.now())
            await self._keep_parts(connection, kept)
        told = [replace(c, others=others.get(c.after.tenant_id, ())) for c in changes] if others else kept
        await self._thresholds.note(connection, [crossings for change in told for crossings in _crossings(change)])
        return [change for change in told if change.differs or change.others]

    async def _keep_parts(self, connection: Any, kept: Sequence[Change]) -> None:
        """What projects and people hold of it, and how it was until now."""
        projects = {
            (change.after.tenant_id, month, project): amount
            for change in kept
            for (project, month), amount in change.projects.items()
            if amount != NOTHING
        }
        if projects:
            await ProjectRepository(connection).add_storage(projects, self._clock.now())
        await UserRepository(connection).add({c.after.tenant_id: c.users for c in kept}, self._clock.now())
        if hidden := {change.after.tenant_id: change.hidden for change in kept if change.hidden}:
            await self._hide(connection, hidden)
        finished = [(change.after.tenant_id, change.finished) for change in kept]
        await HistoryRepository(connection).add_readings(finished, self._retention, self._clock.now())

    async def _hide(self, connection: Any, hidden: Mapping[UUID, Hidden]) -> None:
        now = self._clock.now()
        await CounterRepository(connection).hide(hidden, now)
        await ProjectRepository(connection).hide(hidden)
        await UserRepository(connection).hide(hidden, now)


def _by_tenant(records: Iterable[Record]) -> dict[UUID, list[Record]]:
    entries: defaultdict[int, list[Record]] = defaultdict(list)
    for record in records:
        entries[record.tenant_id.int].append(record)  # a UUID is hashed by Python
    return {found[0].tenant_id: found for found in entries.values()}


def _crossings(change: Change) -> list[Crossings]:
    tenant = change.after.tenant_id
    storage = [Crossings(tenant, "storage", change.after.arms, change.passed)] if change.passed else []
    return [*storage, *change.others]
