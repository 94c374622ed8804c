"""`tenants.v1`: each new team gets the default plan, if it did not ask before the event came."""

from collections.abc import Sequence
from typing import Any

from services.billing.subscriptions.service import SubscriptionService
from shared.events import TenantCreated
from shared.kafka import Record


class TenantHandler:
    def __init__(self, subscriptions: SubscriptionService) -> None:
        self._subscriptions = subscriptions

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        for tenant in sorted({r.tenant_id for r in records if isinstance(r.event, TenantCreated)}):
            await self._subscriptions.provision(connection, tenant)
