"""`tenants.v1`: each team gets the default plan, if it did not ask before the event came. One that is deleted is
charged for nothing any more.
"""

from collections.abc import Sequence
from typing import Any

from services.billing.subscriptions.service import SubscriptionService
from shared.events import TenantDeleted, TenantEvent
from shared.kafka import Record


class TenantHandler:
    def __init__(self, subscriptions: SubscriptionService) -> None:
        self._subscriptions = subscriptions

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        """Whatever tells of a team: the topic is compacted, and its creation may be gone from it."""
        newest = {r.tenant_id: r.event for r in records if isinstance(r.event, TenantEvent)}
        for tenant, event in sorted(newest.items()):
            if isinstance(event, TenantDeleted):
                await self._subscriptions.end(connection, tenant)
            else:
                await self._subscriptions.provision(connection, tenant)
