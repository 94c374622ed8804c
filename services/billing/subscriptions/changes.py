"""What a team chooses for its subscription. More is paid for first (`payments`); less comes at the period's end, or at
once if it likes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.billing.catalogue.loader import Catalogue
from services.billing.catalogue.plan import Interval, Plan, Price
from services.billing.errors import PaymentRequired, PlanNotFound, PriceNotFound
from services.billing.plans import repository as plans
from services.billing.plans.rules import kind_of
from services.billing.subscriptions import period_rows, repository
from services.billing.subscriptions.purchase import due, rest_of
from services.billing.subscriptions.repository import Subscription
from services.billing.subscriptions.rest import Rest
from services.billing.subscriptions.rules import carried
from services.billing.subscriptions.service import SubscriptionService
from shared.clock import Clock
from shared.db import Database


@dataclass(frozen=True, slots=True)
class Wanted:
    """`plan` None: the plan as it is, nothing planned. `version`: what the team saw when it chose; None: what there was
    when it asked.
    """

    plan: str | None
    currency: str | None = None
    interval: Interval | None = None
    at_once: bool = False
    version: int | None = None


class ChangeService:
    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        subscriptions: SubscriptionService,
        rest: Rest,
        clock: Clock,
        wake: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._database = database
        self._catalogue = catalogue
        self._subscriptions = subscriptions
        self._rest = rest
        self._wake = wake

    async def choose(self, tenant: UUID, wanted: Wanted) -> Subscription:
        """Of two that choose at once one wins. Raises PlanNotFound, PriceNotFound, PaymentRequired, RestNotCreditable,
        RefundUnderWay, SubscriptionChangedMeanwhile, TeamNotFound.
        """
        async with self._subscriptions.choosing(tenant, wanted.version) as (connection, held):
            if wanted.plan is None:
                await repository.plan_next(connection, tenant, None, None)
            else:
                await self._go_to(connection, tenant, held, wanted)
            found = await repository.lock(connection, tenant)
        self._wake()
        return found

    async def _go_to(self, connection: Any, tenant: UUID, found: Subscription, wanted: Wanted) -> None:
        plan, price = self._find(wanted, found)
        held = await plans.get(connection, found.plan, found.plan_version)
        if (plan.key, price.interval if price else None) == (held.key, found.interval):
            await repository.plan_next(connection, tenant, None, None)
            return
        at_once = found.period_end is None or wanted.at_once
        if price is not None and (at_once or kind_of(held, plan, found.paid, price) == "upgrade"):
            money = due(price, found, self._clock.now())
            if money.amount:
                raise PaymentRequired(plan.code, money.text, money.currency)
        if at_once:
            await self._go_now(connection, tenant, found, plan, price)
        else:
            await repository.plan_next(connection, tenant, plan, price)

    async def _go_now(
        self, connection: Any, tenant: UUID, found: Subscription, plan: Plan, price: Price | None
    ) -> None:
        """A new period, which is paid with what is left of the one under way."""
        now = self._clock.now()
        left = rest_of(found, now)
        given = await self._rest.give(connection, tenant, left, price, found) if left else 0
        parts = await period_rows.list_of(connection, tenant)
        await self._subscriptions.change(connection, tenant, plan, price)
        if left is not None and price is not None:
            over = carried(parts, found.price or 0, min(left.amount, price.money.amount))
            await period_rows.put(connection, tenant, over)
        if left is not None and left.amount:
            await self._rest.bill(connection, tenant, left, given, plan, price, now)

    def _find(self, wanted: Wanted, found: Subscription) -> tuple[Plan, Price | None]:
        plan = self._catalogue.find(str(wanted.plan))
        if plan is None or not plan.public or (not plan.prices and not plan.default):
            raise PlanNotFound(str(wanted.plan))
        if not plan.prices:
            return plan, None
        currency = wanted.currency or found.currency or self._catalogue.currency
        price = plan.price_in(currency, wanted.interval or found.interval) or plan.price_in(currency, wanted.interval)
        if price is None:
            raise PriceNotFound(plan.code)
        return plan, price
