"""What of a team's use is above its plan, and above the one that follows: nothing is deleted, uploads are refused."""

from dataclasses import dataclass
from uuid import UUID

from services.billing.catalogue.loader import Catalogue
from services.billing.plans import repository as plans
from services.billing.plans.provider import UsageProvider, Used
from services.billing.plans.rules import over
from services.billing.subscriptions.repository import Subscription
from shared.db import Database
from shared.events import Entitlements


@dataclass(frozen=True, slots=True)
class Over:
    """0 where it fits, None where it is not known how much is used."""

    bytes_over: int | None
    members_over: int | None

    @classmethod
    def of(cls, used: Used | None, allowed: Entitlements) -> "Over":
        amounts = used.amounts if used else {}
        return cls(over(amounts.get("storage"), allowed.storage_bytes), over(amounts.get("members"), allowed.members))


@dataclass(frozen=True, slots=True)
class Above:
    """`then`: at the end of the period, where another plan follows."""

    now: Over
    then: Over | None


class AboveService:
    def __init__(self, database: Database, catalogue: Catalogue, usage: UsageProvider) -> None:
        self._database = database
        self._catalogue = catalogue
        self._usage = usage

    async def find(self, tenant: UUID, found: Subscription) -> Above:
        used = await self._usage.find(tenant)
        following = await self._following(found)
        return Above(Over.of(used, found.entitlements), Over.of(used, following) if following else None)

    async def _following(self, found: Subscription) -> Entitlements | None:
        if found.next_plan is None or found.next_plan_version is None:
            return None
        known = self._catalogue.versions.get((found.next_plan, found.next_plan_version))
        if known is not None:
            return known.entitlements
        async with self._database.transaction() as connection:
            return (await plans.get(connection, found.next_plan, found.next_plan_version)).entitlements
