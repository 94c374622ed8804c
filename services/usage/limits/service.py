from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.usage.counters.reader import CounterReader
from services.usage.entitlements.rules import Terms
from services.usage.errors import EntitlementsUnknown
from services.usage.figures.figure import Figure
from services.usage.limits import repository
from services.usage.limits.rules import remaining
from services.usage.limits.schemas import LimitsOut, UsageCheckIn, UsageCheckOut
from services.usage.metering.meters import METERS, Meter
from services.usage.months import Month
from services.usage.thresholds.repository import thresholds_of
from shared.db import Database
from shared.events import Metric


@dataclass(frozen=True, slots=True)
class Standing:
    """One metric of one tenant; `ceiling`: what may be used at most, by plan and by hard thresholds, with what was
    `bought`.
    """

    position: int
    as_of: datetime
    used: int
    ceiling: int | None
    bought: int
    reset_at: datetime | None


class LimitService:
    """Answers before something is done; the services that store and spend keep to the limits themselves."""

    def __init__(self, database: Database, reader: CounterReader) -> None:
        self._database = database
        self._reader = reader

    async def check(self, tenant: UUID, asked: UsageCheckIn) -> UsageCheckOut:
        """Raises EntitlementsUnknown: what cannot be known is not allowed."""
        standing = await self._standing(tenant, asked.metric)
        left = remaining(standing.used, standing.ceiling)
        return UsageCheckOut(
            metric=asked.metric,
            allowed=left is None or asked.amount <= left,
            amount=asked.amount,
            used=standing.used,
            limit=standing.ceiling,
            bought=standing.bought,
            remaining=left,
            reset_at=standing.reset_at,
            position=standing.position,
            as_of=standing.as_of,
        )

    async def limits(self, tenant: UUID) -> LimitsOut:
        """Raises EntitlementsUnknown."""
        return LimitsOut.of(await self._reader.read(tenant))

    async def _standing(self, tenant: UUID, metric: Metric) -> Standing:
        found = await self._find(tenant, metric)
        if found is None or not _terms(found).known:
            await self._reader.read(tenant)  # asks billing, once
            found = await self._find(tenant, metric)
        if found is None:
            raise EntitlementsUnknown
        meter, zone = METERS[metric], ZoneInfo(found["timezone"])
        (used, limit), bought = _used(found, meter, zone), _bought(found, meter)
        scale = meter.scale(chosen=None if found["items"] is None else thresholds_of(found["items"]))
        reset_at = meter.reset_at(found["as_of"], zone)
        ceiling = scale.ceiling(None if limit is None else limit + bought)
        return Standing(found["position"], found["as_of"], used, ceiling, bought, reset_at)

    async def _find(self, tenant: UUID, metric: Metric) -> Any | None:
        async with self._database.transaction(tenant) as connection:
            return await repository.find(connection, tenant, metric)


def _used(found: Any, meter: Meter, zone: tzinfo) -> tuple[int, int | None]:
    """And the limit of it."""
    granted = _terms(found).limit_of(meter.limit)
    if meter.told is None:
        return found["used"], granted
    told = None if found["told"] is None else Figure.stored(found["told"], found["remaining"], found["month"])
    figure = (told or meter.told.before_any(meter.least)).on(Month.of(found["as_of"], zone))
    return figure.used, figure.limit(granted)


def _bought(found: Any, meter: Meter) -> int:
    return 0 if meter.bought is None else int(found[f"bought_{meter.metric}"])


def _terms(found: Any) -> Terms:
    return Terms(found["entitlements_version"], found["plan"], found["limit_bytes"], found["limits"])
