"""Which plan a team is on. Every change of it is an event in the same commit."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from services.billing.catalogue.loader import Catalogue
from services.billing.catalogue.plan import Plan, Price
from services.billing.errors import SubscriptionChangedMeanwhile, TeamNotFound
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
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

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
        """The team is gone: nothing is charged for from now on, nothing is open, nothing is bought any more. What is
        without charge and has no end stays as it is.
        """
        await repository.end(connection, tenant, self._catalogue.default, self._clock.now())
        if (await repository.lock(connection, tenant)).period_end is not None:
            await self.change(connection, tenant, self._catalogue.default)

    @asynccontextmanager
    async def choosing(self, tenant: UUID, version: int | None) -> AsyncIterator[tuple[Any, Subscription]]:
        """The transaction of a choice, and the subscription, which is the caller's. Of those who choose at once, from
        the same `version` or, without one, from what there was when they asked, one wins. Raises
        SubscriptionChangedMeanwhile, TeamNotFound.
        """
        found = await self.get(tenant)  # before waiting for anybody
        seen = found.version if version is None else version
        # Who waits, waits here: for the row, one of this process is enough, or they take all connections.
        async with self._turns.setdefault(tenant, asyncio.Lock()), self._database.transaction(tenant) as connection:
            held = await repository.lock(connection, tenant)
            if held.deleted_at is not None:
                raise TeamNotFound
            if held.version != seen:
                raise SubscriptionChangedMeanwhile(held.version)
            yield connection, held

    async def change(
        self,
        connection: Any,
        tenant: UUID,
        plan: Plan,
        price: Price | None = None,
        *,
        start: datetime | None = None,
        unpaid: bool = False,
        trial_ends_at: datetime | None = None,
    ) -> None:
        """Puts the team on the plan now, inside the caller's transaction, with both events. `price` None is
        without charge; `start` is when the first period began, now unless it is told; `unpaid` says why. With
        `trial_ends_at` it is tried until then.
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
            trial=trial_ends_at is not None,
            trial_ends_at=trial_ends_at,
        )
        await outbox.append(connection, [changed], at=now)


def _entitled(tenant: UUID, plan: Plan, version: int) -> EntitlementsChanged:
    return EntitlementsChanged(
        tenant_id=tenant, version=version, plan=plan.code, plan_version=plan.version, entitlements=plan.entitlements
    )
