from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.counters.reader import CounterReader
from services.usage.counters.rules import percentage
from services.usage.errors import EntitlementsUnknown
from services.usage.limits import repository
from services.usage.limits.rules import remaining, status_of
from services.usage.limits.schemas import LimitOut, LimitsOut, UsageCheckIn, UsageCheckOut
from services.usage.thresholds.repository import thresholds_of
from services.usage.thresholds.rules import DEFAULT, Scale
from shared.db import Database


@dataclass(frozen=True, slots=True)
class Standing:
    """Storage of one tenant; `ceiling`: what may be used at most, by plan and by hard thresholds."""

    position: int
    as_of: datetime
    used: int
    limit: int | None
    ceiling: int | None


class LimitService:
    """Answers before something is done; the services that store and spend keep to the limits themselves."""

    def __init__(self, database: Database, reader: CounterReader) -> None:
        self._database = database
        self._reader = reader

    async def check(self, tenant: UUID, asked: UsageCheckIn) -> UsageCheckOut:
        """Raises EntitlementsUnknown: what cannot be known is not allowed."""
        standing = await self._standing(tenant)
        left = remaining(standing.used, standing.ceiling)
        return UsageCheckOut(
            metric=asked.metric,
            allowed=left is None or asked.amount <= left,
            amount=asked.amount,
            used=standing.used,
            limit=standing.ceiling,
            remaining=left,
            reset_at=None,
            position=standing.position,
            as_of=standing.as_of,
        )

    async def limits(self, tenant: UUID) -> LimitsOut:
        """Raises EntitlementsUnknown."""
        standing = await self._standing(tenant)
        storage = LimitOut(
            metric="storage",
            used=standing.used,
            limit=standing.limit,
            remaining=remaining(standing.used, standing.limit),
            percentage=percentage(standing.used, standing.limit),
            status=status_of(standing.used, standing.limit),
            reset_at=None,
        )
        items = [storage]
        within = all(item.status != "full" for item in items)
        return LimitsOut(within=within, position=standing.position, as_of=standing.as_of, items=items)

    async def _standing(self, tenant: UUID) -> Standing:
        found = await self._find(tenant)
        if found is None or not found["known"]:
            await self._reader.read(tenant)  # asks billing, once
            found = await self._find(tenant)
        if found is None:
            raise EntitlementsUnknown
        scale = DEFAULT if found["items"] is None else Scale(thresholds_of(found["items"]))
        used, limit = found["used"], found["limit"]
        return Standing(found["position"], found["as_of"], used, limit, scale.ceiling(limit))

    async def _find(self, tenant: UUID) -> Any | None:
        async with self._database.transaction(tenant) as connection:
            return await repository.find(connection, tenant)
