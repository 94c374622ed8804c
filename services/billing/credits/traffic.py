"""Traffic above the plan's, for credits. The spending and `traffic.bought` are one commit, in the credits' own."""

from uuid import UUID

from services.billing.credits.commands import Result
from services.billing.credits.errors import TrafficUnlimited
from services.billing.credits.repository import TRAFFIC
from services.billing.credits.service import CreditService
from services.billing.subscriptions.service import SubscriptionService


class TrafficSale:
    def __init__(self, credit: CreditService, subscriptions: SubscriptionService) -> None:
        self._credit = credit
        self._subscriptions = subscriptions

    async def buy(self, tenant: UUID, gigabytes: int, *, client_id: str, by: str) -> Result:
        """Raises CreditsInsufficient, ClientIdReused, TrafficUnlimited."""
        held = await self._subscriptions.get(tenant)
        if held.entitlements.traffic_bytes_month is None:
            raise TrafficUnlimited
        return await self._credit.spend(tenant, TRAFFIC, gigabytes, client_id=client_id, by=by)
