from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID

from services.usage.counters.rules import State
from services.usage.counters.tally import Entry
from services.usage.entitlements.rules import Terms
from services.usage.figures.service import FigureService
from services.usage.metering.meters import AHEAD, METERS, MONTHLY
from services.usage.metering.repository import MonthRepository
from services.usage.metering.rules import Dial, Months, Step, Sums, rejudge, review, steps_of, walk
from services.usage.months import Month
from services.usage.thresholds.repository import Standing, ThresholdRepository
from services.usage.thresholds.rules import Crossings
from shared.clock import Clock
from shared.events import Metric

_METRICS = tuple(meter.metric for meter in MONTHLY)
_DISK = METERS["disk"]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """`begun`: what a new month has left behind, as it should; `missed`: what somebody should have seen before."""

    begun: list[Crossings]
    missed: list[Crossings]


class MeterService:
    """Every metric but storage, judged under the lock of the tenant's counters; in the caller's transaction."""

    def __init__(self, clock: Clock, slack: int) -> None:
        self._clock = clock
        self._slack = slack
        self._figures = FigureService(clock, slack)

    async def count(
        self,
        connection: Any,
        held: Mapping[UUID, State],
        entries: Mapping[UUID, Sequence[Entry]],
        zones: Mapping[UUID, tzinfo],
        *,
        left_out: bool = False,
    ) -> dict[UUID, list[Crossings]]:
        """Adds up what is new, and returns what it passed. `left_out`: the positions are past it."""
        steps = {}
        for tenant, mine in entries.items():
            if found := steps_of(mine, 0 if left_out else held[tenant].position, zones[tenant]):
                steps[tenant] = found
        passed = await self._walk(connection, held, steps, zones) if steps else []
        passed += await self._figures.note(connection, held, entries, zones)
        return by_tenant(passed)

    async def recount(
        self,
        connection: Any,
        held: Mapping[UUID, State],
        images: Mapping[UUID, Mapping[Month, int]],
        zones: Mapping[UUID, tzinfo],
    ) -> dict[UUID, list[Crossings]]:
        """Adds what is missing of images to their months, or takes off what is too much; returns what it passed."""
        now = self._clock.now()
        steps = {
            tenant: [Step(month, now, None, Sums(images=more)) for month, more in sorted(mine.items())]
            for tenant, mine in images.items()
        }
        return by_tenant(await self._walk(connection, held, steps, zones))

    async def grant(
        self, connection: Any, state: State, terms: Terms, zone: tzinfo, traceparent: str | None
    ) -> list[Crossings]:
        """What is passed by other terms."""
        now = self._clock.now()
        steps = {state.tenant_id: [Step(Month.of(now, zone), now, traceparent, terms=terms)]}
        passed = await self._walk(connection, {state.tenant_id: state}, steps, {state.tenant_id: zone})
        return [*passed, *await self._figures.grant(connection, state, terms, traceparent)]

    async def prepare(self, connection: Any, metric: Metric) -> None:
        """Before the tenants are locked."""
        if metric == _DISK.metric:
            await MonthRepository(connection).lock_disks()

    async def rescale(
        self, connection: Any, state: State, metric: Metric, zone: tzinfo, traceparent: str | None
    ) -> list[Crossings]:
        """What is passed by the thresholds that were chosen before."""
        now = self._clock.now()
        if metric == _DISK.metric:
            return await self._judge_disks(connection, [state], now, traceparent)
        if METERS[metric].told is not None:
            return await self._figures.rescale(connection, state, metric, zone, traceparent)
        month = Month.of(now, zone)
        [held] = await self._load(connection, {state.tenant_id: state}, {state.tenant_id: {month}})
        metered = rejudge(held, month, now, traceparent)
        await MonthRepository(connection).save([metered], now)
        return list(metered.crossings)

    async def review(self, connection: Any, held: Mapping[UUID, State], zones: Mapping[UUID, tzinfo]) -> Reviewed:
        """Begins the months that have come, and judges what stands."""
        now = self._clock.now()
        current = {tenant: Month.of(now, zones[tenant]) for tenant in held}
        months = await self._load(connection, held, {tenant: {month} for tenant, month in current.items()})
        looks = [review(mine, current[mine.tenant_id], now) for mine in months]
        await MonthRepository(connection).save([began for began, _ in looks], now)
        missed = [crossing for _, found in looks for crossing in found]
        missed += await self._judge_disks(connection, list(held.values()), now, None)
        begun, more = await self._figures.review(connection, held, zones)
        begun += [crossing for began, _ in looks for crossing in began.crossings]
        return Reviewed(begun, missed + more)

    async def _walk(
        self,
        connection: Any,
        held: Mapping[UUID, State],
        steps: Mapping[UUID, Sequence[Step]],
        zones: Mapping[UUID, tzinfo],
    ) -> list[Crossings]:
        now = self._clock.now()
        wanted = {tenant: {step.month for step in mine} for tenant, mine in steps.items()}
        months = await self._load(connection, held, wanted)
        metered = [walk(mine, steps[mine.tenant_id], Month.of(now + AHEAD, zones[mine.tenant_id])) for mine in months]
        await MonthRepository(connection).save(metered, now)
        return [crossing for one in metered for crossing in one.crossings]

    async def _load(
        self, connection: Any, held: Mapping[UUID, State], wanted: Mapping[UUID, set[Month]]
    ) -> list[Months]:
        tenants = list(wanted)
        keys = [(tenant, month) for tenant, months in wanted.items() for month in months]
        found = await MonthRepository(connection).load(tenants, keys)
        standings = await ThresholdRepository(connection).load(_METRICS, tenants, self._slack)
        return [self._months(held[tenant], *found[tenant], standings) for tenant in tenants]

    def _months(
        self, state: State, begun: Month | None, sums: Any, standings: Mapping[tuple[UUID, Metric], Standing]
    ) -> Months:
        mine = {meter.metric: standings.get((state.tenant_id, meter.metric)) for meter in MONTHLY}
        arms = {metric: standing[0] for metric, standing in mine.items() if standing is not None}
        scales = {
            meter.metric: meter.scale(self._slack) if (own := mine[meter.metric]) is None else own[1]
            for meter in MONTHLY
        }
        return Months(state.tenant_id, state.terms, begun, sums, arms, scales)

    async def _judge_disks(
        self, connection: Any, held: Sequence[State], at: datetime, traceparent: str | None
    ) -> list[Crossings]:
        """Nothing is passed where nobody has chosen a threshold: no plan limits it."""
        tenants = [state.tenant_id for state in held]
        standings = await ThresholdRepository(connection).load([_DISK.metric], tenants, self._slack)
        if not standings:
            return []
        used, crossings = await MonthRepository(connection).list_disks([tenant for tenant, _ in standings]), []
        for state in held:
            if (standing := standings.get((state.tenant_id, _DISK.metric))) is not None:
                dial = Dial(_DISK, standing[1], standing[0], None)
                dial.take(None)  # the thresholds may be others than those it stands by
                dial.turn(used[state.tenant_id], at, traceparent)
                crossings += [dial.crossings(state.tenant_id)] if dial.passed else []
        return crossings


def by_tenant(passed: Sequence[Crossings]) -> dict[UUID, list[Crossings]]:
    found: defaultdict[UUID, list[Crossings]] = defaultdict(list)
    for crossing in passed:
        found[crossing.tenant_id].append(crossing)
    return found
