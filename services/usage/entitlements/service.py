from collections.abc import Callable
from uuid import UUID

from services.usage.counters.service import CounterService
from services.usage.entitlements.provider import EntitlementProvider
from shared.db import Database
from shared.telemetry import current_traceparent


class EntitlementService:
    """Learns a tenant's terms from billing when no event has told them yet."""

    def __init__(
        self,
        database: Database,
        provider: EntitlementProvider,
        counters: CounterService,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._provider = provider
        self._counters = counters
        self._wake = wake

    async def learn(self, tenant: UUID) -> None:
        """Raises EntitlementsUnknown; a newer version that arrived meanwhile stays."""
        terms = await self._provider.get(tenant)
        async with self._database.transaction(tenant) as connection:
            changes = await self._counters.grant(connection, tenant, terms, current_traceparent())
        if any(change.rings for change in changes):
            self._wake()  # the relay has something to publish
