"""What can be had, and what it would mean for the team that asks."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.billing.catalogue.loader import Catalogue
from services.billing.catalogue.plan import Interval, Plan, Price
from services.billing.plans import repository
from services.billing.plans.provider import UsageProvider, Used
from services.billing.plans.rules import Kind, effective_at, kind_of, may_try, over
from services.billing.subscriptions import trial_rows
from services.billing.subscriptions.purchase import due
from services.billing.subscriptions.repository import Subscription
from services.billing.subscriptions.service import SubscriptionService
from shared.clock import Clock
from shared.db import Database
from shared.money import Money


@dataclass(frozen=True, slots=True)
class Change:
    """`price` is the whole price of a period, `due_now` what is paid for the change itself."""

    kind: Kind
    price: Money
    due_now: Money
    bytes_over: int | None
    members_over: int | None
    effective_at: datetime | None


@dataclass(frozen=True, slots=True)
class Offer:
    """`price` as asked for, or nearest to it; None is free. `change` and `may_try` are None where no team asks."""

    plan: Plan
    price: Price | None
    current: bool
    change: Change | None
    may_try: bool | None = None


@dataclass(frozen=True, slots=True)
class Offers:
    items: list[Offer]
    used: Used | None
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Position:
    """Where a team stands: what it has, on which terms, and what it uses."""

    held: Plan
    subscription: Subscription
    used: Used | None
    now: datetime
    tried: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """In which currency and by what interval prices are wanted; None is the installation's, and by the month first."""

    currency: str | None = None
    interval: Interval | None = None


class PlanService:
    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        subscriptions: SubscriptionService,
        usage: UsageProvider,
        clock: Clock,
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._subscriptions = subscriptions
        self._usage = usage
        self._clock = clock

    async def list_offers(self, tenant: UUID | None, wish: Wish) -> Offers:
        """Free ones first, then by price: what is sold, and the version that the team has."""
        sold = [plan for plan in self._catalogue.plans.values() if plan.public]
        if tenant is None:
            offers = [Offer(plan, self._price(plan, wish), current=False, change=None) for plan in self._ordered(sold)]
            return Offers(offers, None, self._clock.now())
        subscription, used = await asyncio.gather(self._subscriptions.get(tenant), self._usage.find(tenant))
        held, now = await self._held(subscription), self._clock.now()
        position = Position(held, subscription, used, now, await self._tried(tenant, sold))
        plans = self._ordered({held.key: held, **{plan.key: plan for plan in sold}}.values())
        return Offers([self._offer(plan, position, wish) for plan in plans], used, now)

    def _offer(self, plan: Plan, team: Position, wish: Wish) -> Offer:
        asked = self._price(plan, wish)
        near = Wish(asked.currency, asked.interval) if asked else wish
        tries = team.subscription.status == "trialing"
        kind = kind_of(team.held, plan, None if tries else self._price(team.held, near), asked)
        price = asked.money if asked else Money(0, wish.currency or self._catalogue.currency)
        amounts = team.used.amounts if team.used else {}
        change = Change(
            kind=kind,
            price=price,
            due_now=due(asked, team.subscription, team.now)
            if kind == "upgrade" and asked
            else Money(0, price.currency),
            bytes_over=over(amounts.get("storage"), plan.entitlements.storage_bytes),
            members_over=over(amounts.get("members"), plan.entitlements.members),
            effective_at=effective_at(kind, team.now, team.subscription.period_end),
        )
        current = plan.key == team.held.key
        return Offer(plan, asked, current=current, change=change, may_try=may_try(plan, team.held, team.tried))

    async def _tried(self, tenant: UUID, sold: Sequence[Plan]) -> Collection[str]:
        if not any(plan.trial_days for plan in sold):
            return ()
        async with self._database.transaction(tenant) as connection:
            return await trial_rows.list_tried(connection, tenant)

    async def _held(self, subscription: Subscription) -> Plan:
        """Versions never change, so it needs no snapshot with the subscription; the catalogue may have lost it."""
        known = self._catalogue.versions.get((subscription.plan, subscription.plan_version))
        if known is not None:
            return known
        async with self._database.transaction() as connection:
            return await repository.get(connection, subscription.plan, subscription.plan_version)

    def _price(self, plan: Plan, wish: Wish) -> Price | None:
        return self._catalogue.price_of(plan, wish.currency, wish.interval)

    def _ordered(self, plans: Iterable[Plan]) -> list[Plan]:
        return sorted(plans, key=lambda plan: (price.yearly if (price := self._price(plan, Wish())) else 0, *plan.key))
