from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.usage.counters.reader import CounterReader
from services.usage.entitlements.rules import Terms
from services.usage.errors import EntitlementsUnknown
from services.usage.limits import repository
from services.usage.limits.rules import remaining
from services.usage.limits.schemas import LimitsOut, UsageCheckIn, UsageCheckOut
from services.usage.metering.meters import METERS
from services.usage.thresholds.repository import thresholds_of
from services.usage.thresholds.rules import Scale
from shared.db import Database
from shared.events import Metric


@dataclass(frozen=True, slots=True)
class Standing:
    """One metric of one tenant; `ceiling`: what may be used at most, by plan and by hard thresholds."""

    position: int
    as_of: datetime
    used: int
    ceiling: int | None
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
        scale = Scale(meter.usual if found["items"] is None else thresholds_of(found["items"]))
        ceiling = scale.ceiling(_terms(found).limit_of(meter.limit))
        return Standing(found["position"], found["as_of"], found["used"], ceiling, meter.reset_at(found["as_of"], zone))

    async def _find(self, tenant: UUID, metric: Metric) -> Any | None:
        async with self._database.transaction(tenant) as connection:
            return await repository.find(connection, tenant, metric)


def _terms(found: Any) -> Terms:
    return Terms(found["entitlements_version"], found["plan"], found["limit_bytes"], found["limits"])
