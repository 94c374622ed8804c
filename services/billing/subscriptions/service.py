"""Which plan a team is on. Every change of it is an event in the same commit."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from services.billing.catalogue.loader import Catalogue, Interval, Plan
from services.billing.subscriptions import repository
from services.billing.subscriptions.repository import Subscription
from services.billing.subscriptions.rules import period_end
from shared import outbox
from shared.clock import Clock
from shared.db import Database
from shared.events import EntitlementsChanged, SubscriptionChanged


class SubscriptionService:
    def __init__(self, database: Database, catalogue: Catalogue, clock: Clock, wake: Callable[[], object]) -> None:
        self._database = database
        self._catalogue = catalogue
        self._clock = clock
        self._wake = wake

    async def get(self, tenant: UUID) -> Subscription:
        """A team never seen before is on the default plan from now on."""
        async with self._database.transaction(tenant) as connection:
            found = await repository.find(connection, tenant)
            if found is not None:
                return found
            await self.provision(connection, tenant)
            found = await repository.lock(connection, tenant)
        self._wake()
        return found

    async def provision(self, connection: Any, tenant: UUID) -> None:
        """The default plan, once; a second time, or both ways at once, changes nothing."""
        plan, now = self._catalogue.default, self._clock.now()
        if await repository.insert(connection, tenant, plan, now):
            await outbox.append(connection, [_entitled(tenant, plan, 1)], at=now)

    async def change(self, connection: Any, tenant: UUID, plan: Plan, interval: Interval | None = None) -> None:
        """Puts the team on the plan, inside the caller's transaction, with both events. `interval`: what was paid for,
        of the first price if it is not said.
        """
        now = self._clock.now()
        await self.provision(connection, tenant)
        before = await repository.lock(connection, tenant)
        paid = interval or (plan.prices[0].interval if plan.prices else None)
        until = period_end(now, paid) if paid else None
        version = await repository.update(connection, tenant, plan, now, until)
        await outbox.append(connection, [_entitled(tenant, plan, version)], at=now)
        changed = SubscriptionChanged(
            tenant_id=tenant,
            plan=plan.code,
            previous_plan=before.plan,
            plan_version=plan.version,
            at=now,
        )
        await outbox.append(connection, [changed], at=now)


def _entitled(tenant: UUID, plan: Plan, version: int) -> EntitlementsChanged:
    return EntitlementsChanged(
        tenant_id=tenant, version=version, plan=plan.code, plan_version=plan.version, entitlements=plan.entitlements
    )
