"""Periods that end: what was planned comes, or the next one begins with an invoice; what stays unpaid ends with the
default plan. By the clock: late, twice or for many months at once, it comes to the same.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from services.billing.catalogue.loader import Catalogue
from services.billing.catalogue.plan import Plan, Price
from services.billing.errors import NothingToInvoice, SellerUnknown
from services.billing.invoices.bill import UNBILLED
from services.billing.invoices.rules import Item
from services.billing.invoices.service import InvoiceService
from services.billing.plans import repository as plans
from services.billing.subscriptions import repository
from services.billing.subscriptions.repository import Subscription
from services.billing.subscriptions.rules import GRACE, boundary, days_of, reminders_due
from services.billing.subscriptions.service import SubscriptionService
from shared import outbox
from shared.clock import Clock
from shared.db import Database
from shared.events import InvoiceDue
from shared.money import Money

log = logging.getLogger(__name__)

UNPRICED = Counter(
    "stowage_billing_subscriptions_unbilled_total", "Plans that ended because no invoice could be issued"
)

PAGE = 200  # teams looked at together


class Renewals:
    """Runs with the worker's role; safe in several processes."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        subscriptions: SubscriptionService,
        invoices: InvoiceService,
        clock: Clock,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._subscriptions = subscriptions
        self._invoices = invoices
        self._clock = clock
        self._wake = wake

    async def run(self) -> int:
        """Returns how many steps were taken."""
        after, steps = UUID(int=0), 0
        while True:
            async with self._database.transaction() as connection:
                due = await repository.list_due(connection, self._clock.now(), after, PAGE)
            for tenant in due:
                steps += await self._advance(tenant)
            if len(due) < PAGE:
                break
            after = due[-1]
        if steps:
            self._wake()
        return steps

    async def _advance(self, tenant: UUID) -> int:
        """One step a transaction, until nothing is due. One team's trouble keeps no other from its turn."""
        steps = 0
        try:
            while await self._step_alone(tenant):
                steps += 1
        except (SellerUnknown, NothingToInvoice) as error:
            UNBILLED.inc()
            log.error("the next period of %s cannot be invoiced: %s", tenant, error)
            steps += await self._end_unbilled(tenant)
        except Exception:
            log.exception("the subscription of %s could not go on", tenant)
        return steps

    async def _end_unbilled(self, tenant: UUID) -> int:
        """A plan that nobody can be charged for goes on as long as one that nobody pays, and no longer."""
        async with self._database.transaction() as connection:
            found = await repository.lock(connection, tenant)
            if found.period_end is None or found.period_end + GRACE > self._clock.now():
                return 0
            await self._subscriptions.change(connection, tenant, self._catalogue.default)
        UNPRICED.inc()
        log.error("the subscription of %s has ended: for %s no invoice could be issued", tenant, GRACE)
        return 1

    async def _step_alone(self, tenant: UUID) -> bool:
        async with self._database.transaction() as connection:
            return await self._step(connection, tenant, await repository.lock(connection, tenant))

    async def _step(self, connection: Any, tenant: UUID, found: Subscription) -> bool:
        """False when nothing is due."""
        now = self._clock.now()
        if found.invoice_id is not None and found.grace_until is not None:
            if found.grace_until <= now:
                await self._give_up(connection, tenant)
                return True
            return await self._remind(connection, tenant, found, found.grace_until, now)
        if found.period_end is None or found.period_end > now:
            return False
        if found.status == "trialing" and found.next_plan is None:
            await self._subscriptions.change(connection, tenant, self._catalogue.default)
        elif found.next_plan is None:
            await self._renew(connection, tenant, found, found.period_end)
        else:
            await self._go_over(connection, tenant, found, found.period_end)
        return True

    async def _renew(self, connection: Any, tenant: UUID, found: Subscription, start: datetime) -> None:
        """The next period of the same; its invoice is open."""
        plan = await plans.get(connection, found.plan, found.plan_version)
        price = Money(found.price or 0, found.currency or "")
        zone = await repository.zone_of(connection, tenant)
        end = boundary(found.anchor or start, found.period + 2, found.interval or "month", zone)
        await self._bill(connection, tenant, plan, price, (start, end))

    async def _go_over(self, connection: Any, tenant: UUID, found: Subscription, start: datetime) -> None:
        """To what was chosen for the end of the period, at the price it had then."""
        plan = await plans.get(connection, str(found.next_plan), found.next_plan_version or 0)
        price = plan.price_in(found.next_currency or "", found.next_interval) if found.next_interval else None
        await self._subscriptions.change(connection, tenant, plan, price, start=start if price else None)
        if price is not None:
            await self._first_of(connection, tenant, plan, price)

    async def _first_of(self, connection: Any, tenant: UUID, plan: Plan, price: Price) -> None:
        """The first period of a plan that was gone over to is not paid yet."""
        found = await repository.lock(connection, tenant)
        if found.period_start is not None and found.period_end is not None:
            await self._bill(connection, tenant, plan, price.money, (found.period_start, found.period_end), first=True)

    async def _bill(
        self,
        connection: Any,
        tenant: UUID,
        plan: Plan,
        price: Money,
        period: tuple[datetime, datetime],
        *,
        first: bool = False,
    ) -> None:
        now, (start, end) = self._clock.now(), period
        days = days_of(start, end, await repository.zone_of(connection, tenant))
        item = Item(f"Stowage {plan.name}", 1, price.amount, *days)
        until = now + GRACE
        invoice = await self._invoices.issue(
            connection, tenant, [item], price.currency, now, due_at=until, inclusive=True
        )
        if first:
            await repository.owe(connection, tenant, invoice.id, until)
        else:
            await repository.renew(connection, tenant, end, invoice.id, until)

    async def _remind(
        self, connection: Any, tenant: UUID, found: Subscription, grace_until: datetime, now: datetime
    ) -> bool:
        """Those that were missed while nobody ran are not made up for: one is enough."""
        due = reminders_due(grace_until - GRACE, now)
        if due <= found.notices or found.invoice_id is None:
            return False
        invoice = await self._invoices.find(connection, found.invoice_id)
        told = InvoiceDue(
            tenant_id=tenant,
            invoice_id=invoice.id,
            number=invoice.number,
            gross=invoice.gross,
            currency=invoice.currency,
            reminder=due,
            ends_at=grace_until,
            at=now,
        )
        await repository.set_notices(connection, tenant, due)
        await outbox.append(connection, [told], at=now)
        return True

    async def _give_up(self, connection: Any, tenant: UUID) -> None:
        """Nobody paid: nobody is asked for it any more, and the team is on the default plan. Nothing is deleted."""
        await self._subscriptions.change(connection, tenant, self._catalogue.default, unpaid=True)
        log.info("the subscription of %s was not paid and has ended", tenant)
