"""Paying: asked once, settled once, whatever the provider does in between."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from services.billing.catalogue.loader import Catalogue, Plan
from services.billing.errors import (
    AlreadyOnPlan,
    NotCancellable,
    PaymentNotFound,
    PaymentOpen,
    PlanNotFound,
    ProviderUnavailable,
)
from services.billing.payments import repository
from services.billing.payments.provider import Order, Provider, ProviderRefused, ProviderSilent
from services.billing.payments.repository import Payment
from services.billing.payments.rules import OPEN, Claim, Verdict, judge, next_check
from services.billing.plans import repository as plans
from services.billing.subscriptions.service import SubscriptionService
from shared import outbox
from shared.clock import Clock
from shared.db import Database
from shared.events import PaymentCancelled, PaymentCompleted, PaymentEvent, PaymentFailed, PaymentMethod
from shared.ids import new_id
from shared.money import Money

log = logging.getLogger(__name__)

SETTLED = Counter("stowage_billing_payments_total", "Payments by what became of them", ["status", "method"])

_EVENTS: dict[str, type[PaymentEvent]] = {
    "completed": PaymentCompleted,
    "failed": PaymentFailed,
    "cancelled": PaymentCancelled,
}


class PaymentService:
    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        subscriptions: SubscriptionService,
        provider: Provider,
        clock: Clock,
        *,
        callback_url: str,
        first_check: float,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._subscriptions = subscriptions
        self._provider = provider
        self._clock = clock
        self._callback_url = callback_url
        self._first_check = first_check
        self._wake = wake

    async def initiate(
        self, tenant: UUID, team: str, plan_code: str, method: PaymentMethod, return_url: str
    ) -> Payment:
        """Raises PlanNotFound, AlreadyOnPlan, PaymentOpen, ProviderUnavailable. The price is the catalogue's."""
        plan = self._catalogue.find(plan_code)
        if plan is None or plan.price is None:
            raise PlanNotFound(plan_code)
        if (await self._subscriptions.get(tenant)).plan == plan.code:
            raise AlreadyOnPlan(plan.code)
        payment = self._draft(tenant, plan, plan.price.money, method)
        # Committed before the provider hears of it: whatever happens next, we know that we asked.
        async with self._database.transaction(tenant) as connection:
            if not await repository.insert(connection, payment):
                open_one = await repository.find_open(connection, tenant)
                raise PaymentOpen(str(open_one.id) if open_one else "", open_one.payment_url if open_one else None)
        return await self._open(payment, team, plan, return_url)

    async def _open(self, payment: Payment, team: str, plan: Plan, return_url: str) -> Payment:
        order = Order(
            payment.id, team, payment.money, payment.method, f"Stowage {plan.name}", self._callback_url, return_url
        )
        try:
            opened = await self._provider.initiate(order)
        except ProviderSilent as error:
            log.warning("the provider is silent about payment %s: %s", payment.id, error)
            raise ProviderUnavailable(str(payment.id)) from error
        except ProviderRefused as error:
            async with self._database.transaction(payment.tenant_id) as connection:
                await self._settle(connection, payment, "failed", "provider refused")
            self._wake()
            raise ProviderUnavailable(str(payment.id)) from error
        async with self._database.transaction(payment.tenant_id) as connection:
            await repository.set_opened(connection, payment.id, opened.external_id, opened.payment_url, opened.qr_code)
            return await _get(connection, payment.id)

    async def get(self, tenant: UUID, payment_id: UUID) -> Payment:
        """Raises PaymentNotFound."""
        async with self._database.transaction(tenant) as connection:
            return await _get(connection, payment_id)

    async def list_newest(self, tenant: UUID, limit: int, after: tuple[datetime, UUID] | None) -> list[Payment]:
        async with self._database.transaction(tenant) as connection:
            return await repository.list_newest(connection, tenant, limit, after)

    async def cancel(self, tenant: UUID, payment_id: UUID) -> Payment:
        """Asks the provider first: if it has the money already, its truth wins. Raises NotCancellable."""
        payment = await self.get(tenant, payment_id)
        if payment.status not in OPEN:
            raise NotCancellable(payment.status)
        if payment.external_id is None:
            # Never opened as far as we know; the janitor finds out if it was.
            raise ProviderUnavailable(str(payment.id))
        try:
            claim = await self._provider.cancel(payment.external_id)
        except (ProviderSilent, ProviderRefused) as error:
            raise ProviderUnavailable(str(payment.id)) from error
        async with self._database.transaction(tenant) as connection:
            await self.settle(connection, claim, "cancel")
        self._wake()
        return await self.get(tenant, payment_id)

    async def settle(self, connection: Any, claim: Claim, source: str) -> Verdict:
        """What a provider says, held against what was asked. The payment's row is locked until the commit, so of
        any number of the same claims one changes something. Completion, plan, entitlements and events are one commit.
        """
        payment = await repository.find(connection, UUID(claim.payment_id), lock=True)
        if payment is None:
            return Verdict("rejected", "no such payment")
        verdict = judge(payment.asked, claim)
        if verdict.verdict == "accepted":
            await self._settle(connection, payment, claim.status, source, claim)
        return verdict

    async def _settle(
        self, connection: Any, payment: Payment, status: Any, source: str, claim: Claim | None = None
    ) -> None:
        now = self._clock.now()
        external = claim.external_id if claim else None
        transaction = claim.transaction_id if claim else None
        await repository.move(
            connection, payment, status, source, now, external_id=external, transaction_id=transaction
        )
        if status == "completed":
            plan = await plans.get(connection, payment.plan, payment.plan_version)
            await self._subscriptions.change(connection, payment.tenant_id, plan)
        event = _EVENTS.get(status)
        if event is not None:
            told = event(
                tenant_id=payment.tenant_id,
                payment_id=payment.id,
                amount=payment.amount,
                currency=payment.currency,
                method=payment.method,
                plan=payment.plan,
                at=now,
            )
            await outbox.append(connection, [told], at=now)
            SETTLED.labels(status, payment.method).inc()

    def _draft(self, tenant: UUID, plan: Plan, money: Money, method: PaymentMethod) -> Payment:
        now = self._clock.now()
        return Payment(
            id=new_id(),
            tenant_id=tenant,
            external_id=None,
            amount=money.amount,
            currency=money.currency,
            method=method,
            status="pending",
            plan=plan.code,
            plan_version=plan.version,
            payment_url=None,
            qr_code=None,
            transaction_id=None,
            created_at=now,
            completed_at=None,
            next_check_at=now + timedelta(seconds=self._first_check),
            checks=0,
        )


class Janitor:
    """Asks the provider about every payment that stays open: a callback may have been lost."""

    def __init__(
        self, database: Database, payments: PaymentService, provider: Provider, clock: Clock, first: float
    ) -> None:
        self._database = database
        self._payments = payments
        self._provider = provider
        self._clock = clock
        self._first = first

    async def run(self) -> None:
        async with self._database.transaction() as connection:
            due = await repository.list_due(connection, self._clock.now())
        for payment in due:
            await self._ask(payment)

    async def _ask(self, payment: Payment) -> None:
        later = self._clock.now() + next_check(self._first, payment.checks + 1)
        claim = await self._claim(payment)
        async with self._database.transaction() as connection:
            await repository.set_checked(connection, payment.id, later)
            if claim is not None:
                verdict = await self._payments.settle(connection, claim, "janitor")
                if verdict.verdict == "accepted":
                    log.warning("payment %s was %s without a callback", payment.id, claim.status)
        self._payments._wake()  # noqa: SLF001 - the same service's second half

    async def _claim(self, payment: Payment) -> Claim | None:
        # Without an external id the answer to `initiate` was lost: the provider knows the payment by ours.
        try:
            return await self._provider.status(payment.external_id or str(payment.id))
        except (ProviderSilent, ProviderRefused) as error:
            log.info("nothing known of payment %s yet: %s", payment.id, error)
            return None


async def _get(connection: Any, payment_id: UUID) -> Payment:
    found = await repository.find(connection, payment_id)
    if found is None:
        raise PaymentNotFound
    return found
