"""The limits of plans on what is the gateway's own: members, projects, teams."""

from typing import Any, Literal
from uuid import UUID

from services.gateway.entitlements import repository
from services.gateway.errors import EntitlementsUnknown, PlanLimitReached
from shared.clock import Clock
from shared.db import Database
from shared.errors import UpstreamError
from shared.events import EntitlementsChanged
from shared.http import ServiceClient

Limited = Literal["members", "projects", "teams"]


class PlanLimits:
    def __init__(self, database: Database, billing: ServiceClient, clock: Clock, upgrade_url: str) -> None:
        self._database = database
        self._billing = billing
        self._clock = clock
        self._upgrade_url = upgrade_url

    async def learn(self, tenant: UUID) -> None:
        """Asks billing where no event has told yet; outside of any transaction. Raises EntitlementsUnknown."""
        async with self._database.transaction(tenant) as connection:
            if await repository.find(connection, tenant) is not None:
                return
        told = await self._ask(tenant)
        async with self._database.transaction(tenant) as connection:
            await repository.upsert(connection, [told], self._clock.now())

    async def check_room(self, connection: Any, tenant: UUID, what: Limited, used: int) -> None:
        """For one more. Raises PlanLimitReached; and EntitlementsUnknown: what cannot be known is not allowed."""
        granted = await repository.find(connection, tenant)
        if granted is None:
            raise EntitlementsUnknown
        limit: int | None = getattr(granted, what)
        if limit is not None and used >= limit:
            raise PlanLimitReached(what, limit, used, self._upgrade_url)

    async def _ask(self, tenant: UUID) -> EntitlementsChanged:
        try:
            answer = await self._billing.request_json("GET", f"/internal/entitlements/{tenant}")
            return EntitlementsChanged.model_validate({**answer, "tenant_id": tenant})
        except (UpstreamError, ValueError, TypeError) as error:
            raise EntitlementsUnknown from error
