"""Which plan a team is on. Every change of it is an event in the same commit."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.catalogue.loader import Catalogue
from services.billing.catalogue.plan import Plan, Price
from services.billing.invoices import repository as invoices
from services.billing.plans import repository as plans
from services.billing.plans.rules import lower
from services.billing.subscriptions import repository
from services.billing.subscriptions.repository import Subscription
from services.billing.subscriptions.rules import boundary
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

    async def end(self, connection: Any, tenant: UUID) -> None:
        """Nothing is charged for from now on, and nothing is open. What is without charge stays as it is."""
        await repository.hold(connection, tenant)
        found = await repository.find(connection, tenant)
        if found is not None and found.price is not None:
            await self.change(connection, tenant, self._catalogue.default)

    async def change(
        self,
        connection: Any,
        tenant: UUID,
        plan: Plan,
        price: Price | None = None,
        *,
        start: datetime | None = None,
        unpaid: bool = False,
    ) -> None:
        """Puts the team on the plan now, inside the caller's transaction, with both events. `price` None is
        without charge; `start` is when the first period began, now unless it is told; `unpaid` says why.
        """
        now = self._clock.now()
        await self.provision(connection, tenant)
        before = await repository.lock(connection, tenant)
        held = await plans.get(connection, before.plan, before.plan_version)
        period = None
        if price is not None:
            begin = start or now
            zone = await repository.zone_of(connection, tenant)
            period = (begin, boundary(begin, 1, price.interval, zone))
        version = await repository.change(connection, tenant, plan, now, price, period)
        if before.invoice_id is not None:
            await invoices.void_open(connection, before.invoice_id)  # of a period that is no more
        await outbox.append(connection, [_entitled(tenant, plan, version)], at=now)
        changed = SubscriptionChanged(
            tenant_id=tenant,
            plan=plan.code,
            previous_plan=before.plan,
            plan_version=plan.version,
            at=now,
            lower=lower(held.entitlements, plan.entitlements),
            unpaid=unpaid,
        )
        await outbox.append(connection, [changed], at=now)


def _entitled(tenant: UUID, plan: Plan, version: int) -> EntitlementsChanged:
    return EntitlementsChanged(
        tenant_id=tenant, version=version, plan=plan.code, plan_version=plan.version, entitlements=plan.entitlements
    )
