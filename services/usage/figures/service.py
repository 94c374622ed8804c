from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any
from uuid import UUID

from services.usage.counters.rules import State
from services.usage.counters.tally import Entry
from services.usage.entitlements.rules import Terms
from services.usage.figures import rules
from services.usage.figures.repository import FigureRepository
from services.usage.figures.rules import HEARD, Held, Noted
from services.usage.metering.meters import AHEAD, FIGURES
from services.usage.months import Month
from services.usage.thresholds.repository import ThresholdRepository
from services.usage.thresholds.rules import Crossings
from shared.clock import Clock
from shared.events import Metric

_METRICS = tuple(meter.metric for meter in FIGURES)


class FigureService:
    """Figures and their thresholds, under the lock of the tenant's counters; in the caller's transaction."""

    def __init__(self, clock: Clock, slack: int) -> None:
        self._clock = clock
        self._slack = slack

    async def note(
        self,
        connection: Any,
        held: Mapping[UUID, State],
        entries: Mapping[UUID, Sequence[Entry]],
        zones: Mapping[UUID, tzinfo],
    ) -> list[Crossings]:
        """Takes over what is newer than what is known, and returns what it passed."""
        heard = {
            tenant: mine
            for tenant, all_of_them in entries.items()
            if (mine := [entry for entry in all_of_them if type(entry.event) in HEARD])
        }
        if not heard:
            return []
        soon = self._clock.now() + AHEAD
        loaded = await self._load(connection, [held[tenant] for tenant in heard])
        noted = [rules.walk(one, heard[one.tenant_id], Month.of(soon, zones[one.tenant_id])) for one in loaded]
        return await self._keep(connection, noted)

    async def grant(self, connection: Any, state: State, terms: Terms, traceparent: str | None) -> list[Crossings]:
        """What is passed by other terms."""
        [held] = await self._load(connection, [state])
        return await self._keep(connection, [rules.grant(held, terms, self._clock.now(), traceparent)])

    async def rescale(
        self, connection: Any, state: State, metric: Metric, zone: tzinfo, traceparent: str | None
    ) -> list[Crossings]:
        """What is passed by the thresholds that were chosen before."""
        now = self._clock.now()
        [held] = await self._load(connection, [state])
        return await self._keep(connection, [rules.rejudge(held, metric, Month.of(now, zone), now, traceparent)])

    async def review(
        self, connection: Any, states: Mapping[UUID, State], zones: Mapping[UUID, tzinfo]
    ) -> tuple[list[Crossings], list[Crossings]]:
        """Begins the months that have come. What they left behind, and what should have been seen before."""
        now = self._clock.now()
        loaded = await self._load(connection, list(states.values()))
        looks = [rules.review(held, Month.of(now, zones[held.tenant_id]), now) for held in loaded]
        begun = await self._keep(connection, [begun for begun, _ in looks])
        return begun, [crossing for _, missed in looks for crossing in missed]

    async def _load(self, connection: Any, states: Sequence[State]) -> list[Held]:
        tenants = [state.tenant_id for state in states]
        figures = await FigureRepository(connection).load(tenants)
        standings = await ThresholdRepository(connection).load(_METRICS, tenants, self._slack)
        loaded = []
        for state in states:
            tenant = state.tenant_id
            mine = {meter: standings.get((tenant, meter.metric), ({}, meter.scale(self._slack))) for meter in FIGURES}
            arms = {meter.metric: arms for meter, (arms, _) in mine.items()}
            scales = {meter.metric: scale for meter, (_, scale) in mine.items()}
            loaded.append(Held(tenant, state.terms, figures.get(tenant, {}), arms, scales))
        return loaded

    async def _keep(self, connection: Any, noted: Sequence[Noted]) -> list[Crossings]:
        await FigureRepository(connection).save(noted, self._clock.now())
        return [crossing for one in noted for crossing in one.crossings]
