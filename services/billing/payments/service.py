"""Paying: asked once, settled once, whatever the provider does in between."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import segno

from services.billing.catalogue.loader import Catalogue, Interval
from services.billing.errors import (
    AlreadyOnPlan,
    NotCancellable,
    PaymentNotFound,
    PaymentOpen,
    PlanNotFound,
    PriceNotFound,
    ProviderUnavailable,
    PurposeNotSold,
    TeamNotFound,
)
from services.billing.payments import repository
from services.billing.payments.fulfilment import Fulfilment, Purchase
from services.billing.payments.provider import Order, PaymentUnknown, ProviderRefused, Providers, ProviderSilent
from services.billing.payments.repository import Payment
from services.billing.payments.rules import OPEN
from services.billing.payments.settlement import Settlement
from services.billing.subscriptions import repository as subscriptions
from services.billing.subscriptions.purchase import plan_purchase
from services.billing.subscriptions.service import SubscriptionService
from shared import faults
from shared.clock import Clock
from shared.db import Database
from shared.events import PaymentMethod, PaymentPurpose
from shared.ids import new_id

log = logging.getLogger(__name__)


class PaymentService:
    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        subscriptions: SubscriptionService,
        settlement: Settlement,
        providers: Providers,
        fulfilments: Mapping[PaymentPurpose, Fulfilment],
        clock: Clock,
        *,
        callback_url: str,
        first_check: float,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._subscriptions = subscriptions
        self._settlement = settlement
        self._providers = providers
        self._fulfilments = fulfilments
        self._clock = clock
        self._callback_url = callback_url
        self._first_check = first_check
        self._wake = wake

    async def initiate(
        self,
        tenant: UUID,
        team: str,
        plan_code: str,
        method: PaymentMethod,
        return_url: str,
        *,
        currency: str | None = None,
        interval: Interval | None = None,
    ) -> Payment:
        """Raises PlanNotFound, PriceNotFound, AlreadyOnPlan, NothingToPay, RefundUnderWay, PaymentOpen, TeamNotFound,
        ProviderUnavailable. The price is the catalogue's, less what is left of the period under way; unless told
        otherwise in the installation's currency and by the month. It is made when nothing of the team's is being
        settled: of what has just been bought, all that is left is taken off.
        """
        plan = self._catalogue.find(plan_code)
        if plan is None or not plan.prices or not plan.public:
            raise PlanNotFound(plan_code)
        price = plan.price_in(currency or self._catalogue.currency, interval)
        if price is None:
            raise PriceNotFound(plan_code)
        await self._subscriptions.get(tenant)
        async with self._database.transaction(tenant) as connection:
            await repository.lock_slot(connection, tenant, "plan")
            held = await subscriptions.lock(connection, tenant)
            if held.deleted_at is not None:
                raise TeamNotFound
            if (held.plan, held.plan_version) == plan.key and held.status != "trialing":
                raise AlreadyOnPlan(plan.code)
            purchase = plan_purchase(plan, price, held, self._clock.now())
            payment = self._draft(tenant, team, purchase, method, return_url)
            standing = await self._insert(connection, payment)
        return await self._opened(payment, standing)

    async def start(
        self,
        tenant: UUID,
        team: str,
        purchase: Purchase,
        method: PaymentMethod,
        return_url: str,
    ) -> Payment:
        """Whatever has a price of its own. Raises PurposeNotSold, PaymentOpen, TeamNotFound, ProviderUnavailable."""
        if purchase.purpose not in self._fulfilments:
            raise PurposeNotSold(purchase.purpose)
        payment = self._draft(tenant, team, purchase, method, return_url)
        async with self._database.transaction(tenant) as connection:
            await repository.lock_slot(connection, tenant, purchase.purpose)
            if await subscriptions.hold_deleted(connection, tenant):
                raise TeamNotFound
            standing = await self._insert(connection, payment)
        return await self._opened(payment, standing)

    async def _insert(self, connection: Any, payment: Payment) -> Payment | None:
        """The one that stands in its place, or itself; None where that is just being settled."""
        if await repository.insert(connection, payment):
            return payment
        return await repository.find_open(connection, payment)

    async def _opened(self, payment: Payment, standing: Payment | None) -> Payment:
        """Committed before the provider hears of it: whatever happens next, we know that we asked."""
        if standing is not payment:
            raise await self._already_open(standing)
        faults.reach("billing.opened")
        return await self.open(payment)

    async def open(self, payment: Payment) -> Payment:
        """Tells the provider, which takes the same order twice for one. Raises ProviderUnavailable."""
        order = Order(
            payment.id,
            payment.team,
            payment.money,
            payment.method,
            self._fulfilments[payment.purpose].title(payment),
            self._callback_url,
            payment.return_url,
            payment.metadata,
        )
        try:
            opened = await self._providers.get(payment.provider).initiate(order)
        except ProviderSilent as error:
            log.warning("the provider is silent about payment %s: %s", payment.id, error)
            raise ProviderUnavailable(str(payment.id)) from error
        except ProviderRefused as error:
            log.error("the provider refused payment %s: %s", payment.id, error)
            await self._close(payment, "failed", "refused by the provider")
            raise ProviderUnavailable(str(payment.id)) from error
        code = opened.qr_code or qr_code(opened.payment_url)
        try:
            async with self._database.transaction(payment.tenant_id) as connection:
                await repository.set_opened(connection, payment.id, opened.external_id, opened.payment_url, code)
                return await _get(connection, payment.id)
        except asyncpg.UniqueViolationError as error:
            log.error("the provider gave payment %s an id that is another's", payment.id)
            raise ProviderUnavailable(str(payment.id)) from error

    async def get(self, tenant: UUID, payment_id: UUID) -> Payment:
        """Raises PaymentNotFound."""
        async with self._database.transaction(tenant) as connection:
            return await _get(connection, payment_id)

    async def cancel(self, tenant: UUID, payment_id: UUID) -> Payment:
        """Asks the provider first: if it has the money already, its truth wins. Raises NotCancellable."""
        payment = await self.get(tenant, payment_id)
        if payment.status not in OPEN:
            raise NotCancellable(payment.status)
        try:
            external = payment.external_id or (await self.open(payment)).external_id
            claim = await self._providers.get(payment.provider).cancel(str(external))
        except PaymentUnknown:
            # What it does not know it takes no money for; should an order still be on its way, its callback tells.
            await self._close(payment, "cancelled", "cancelled, unknown to the provider")
            return await self.get(tenant, payment_id)
        except (ProviderSilent, ProviderRefused) as error:
            raise ProviderUnavailable(str(payment.id)) from error
        async with self._database.transaction(tenant) as connection:
            verdict = await self._settlement.settle(connection, claim, "cancel")
        self._wake()
        if verdict.verdict == "rejected":
            log.error("the provider's answer contradicts payment %s: %s", payment.id, verdict.reason)
            raise ProviderUnavailable(str(payment.id))
        return await self.get(tenant, payment_id)

    async def _close(self, payment: Payment, status: Any, source: str) -> None:
        async with self._database.transaction(payment.tenant_id) as connection:
            await self._settlement.close(connection, payment.id, status, source)
        self._wake()

    async def _already_open(self, payment: Payment | None) -> PaymentOpen | ProviderUnavailable:
        """Where the first answer was lost, the provider is asked again for the address to pay at."""
        if payment is not None and payment.payment_url is None:
            try:
                payment = await self.open(payment)
            except ProviderUnavailable as error:
                return error
        return PaymentOpen(str(payment.id) if payment else None, payment.payment_url if payment else None)

    def _draft(self, tenant: UUID, team: str, purchase: Purchase, method: PaymentMethod, return_url: str) -> Payment:
        now = self._clock.now()
        money = purchase.money
        return Payment(
            id=new_id(),
            tenant_id=tenant,
            team=team,
            external_id=None,
            amount=money.amount,
            currency=money.currency,
            method=method,
            status="pending",
            provider=self._providers.choose(method).name,
            purpose=purchase.purpose,
            subject=purchase.subject,
            plan=purchase.plan,
            plan_version=purchase.plan_version,
            return_url=return_url,
            metadata=purchase.metadata,
            payment_url=None,
            qr_code=None,
            transaction_id=None,
            created_at=now,
            completed_at=None,
            next_check_at=now + timedelta(seconds=self._first_check),
            checks=0,
        )


def qr_code(address: str) -> str:
    """A data URI, for providers that make none: who pays by telephone points it at the screen."""
    return segno.make(address, error="m").svg_data_uri(scale=4)


async def _get(connection: Any, payment_id: UUID) -> Payment:
    found = await repository.find(connection, payment_id)
    if found is None:
        raise PaymentNotFound
    return found
