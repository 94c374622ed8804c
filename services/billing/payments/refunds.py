"""Giving money back, through the provider that has it: never more than was paid, once for each time it is asked."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.billing.errors import (
    NotRefundable,
    PaymentNotFound,
    ProviderUnavailable,
    RefundIdReused,
    RefundRefused,
    RefundTooLarge,
)
from services.billing.payments import refund_rows, repository
from services.billing.payments.fulfilment import Bills, Packs
from services.billing.payments.provider import ProviderRefused, Providers, ProviderSilent, Returning
from services.billing.payments.refund_rows import Refund
from services.billing.payments.repository import Payment
from services.billing.payments.rules import next_check
from services.billing.subscriptions import repository as subscriptions
from shared import outbox
from shared.clock import Clock
from shared.db import Database
from shared.ids import new_id
from shared.money import Money

log = logging.getLogger(__name__)


class RefundService:
    """`first`: seconds until a provider that did not answer is asked again, under the same id."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        packs: Packs,
        bills: Bills,
        clock: Clock,
        *,
        first: float,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._providers = providers
        self._packs = packs
        self._bills = bills
        self._clock = clock
        self._first = first
        self._wake = wake

    async def refund(self, payment_id: UUID, amount: str | None, client_id: str, reason: str, by: str) -> Refund:
        """All that is left where no amount is said. The same `client_id` again is the same refund.

        Raises PaymentNotFound, NotRefundable, RefundTooLarge, RefundIdReused, RefundRefused, and ProviderUnavailable
        when nobody knows: then the worker asks on.
        """
        tenant = await self._owner(payment_id)
        async with self._database.transaction(tenant) as connection:
            refund, payment = await self._reserve(connection, payment_id, amount, client_id, reason, by)
        if refund.status == "failed":
            raise RefundRefused(refund.id)
        if refund.status == "completed":
            return refund
        return await self._carry_out(payment, refund)

    async def list_of(self, payment_id: UUID) -> list[Refund]:
        """Raises PaymentNotFound."""
        async with self._database.transaction(await self._owner(payment_id)) as connection:
            return await refund_rows.list_of(connection, payment_id)

    async def list_owed(self, limit: int, after: tuple[datetime, UUID] | None) -> list[Any]:
        """Payments of all teams of which something is still to be given back, oldest first."""
        async with self._database.transaction() as connection:
            return await repository.list_owed(connection, limit, after)

    async def run(self) -> None:
        """A job's work: asks again about refunds whose answers were lost. For a role that sees all tenants."""
        async with self._database.transaction() as connection:
            due = await refund_rows.list_due(connection, self._clock.now())
        for refund in due:
            try:
                await self._try(refund)
            except Exception:
                # It has its next time already; the others must not wait for that.
                log.exception("refund %s could not be carried out", refund.id)

    async def _try(self, refund: Refund) -> None:
        await self._put_off(refund)  # first of all, so that one that always fails keeps nobody waiting
        async with self._database.transaction() as connection:
            payment = await repository.find(connection, refund.payment_id)
        if payment is None:
            return
        try:
            await self._carry_out(payment, refund)
        except (ProviderUnavailable, RefundRefused) as error:
            log.info("refund %s: %s", refund.id, error.code)

    async def _owner(self, payment_id: UUID) -> UUID:
        async with self._database.transaction() as connection:
            tenant = await repository.find_owner(connection, payment_id)
        if tenant is None:
            raise PaymentNotFound
        return tenant

    async def _reserve(
        self, connection: Any, payment_id: UUID, amount: str | None, client_id: str, reason: str, by: str
    ) -> tuple[Refund, Payment]:
        payment = await repository.find(connection, payment_id, lock=True)
        if payment is None:
            raise PaymentNotFound
        known = await refund_rows.find_by_client(connection, payment_id, client_id)
        if known is not None:
            if amount is not None and _read(amount, payment.currency) != known.amount:
                raise RefundIdReused
            return known, payment
        wanted = _amount(payment, amount)
        now = self._clock.now()
        refund = Refund.of(payment, new_id(), wanted, client_id=client_id, reason=reason, by=by, at=now)
        await refund_rows.insert(connection, refund)
        await refund_rows.set_tried(connection, refund.id, now + timedelta(seconds=self._first))
        await repository.note(connection, payment, "completed", "refunding", f"refund {refund.id} by {by}", now)
        return refund, payment

    async def _carry_out(self, payment: Payment, refund: Refund) -> Refund:
        returning = Returning(
            refund.id,
            payment.id,
            str(payment.external_id),
            payment.transaction_id,
            refund.money,
            refund.reason,
            again=refund.tries > 0,
        )
        try:
            external = await self._providers.get(payment.provider).refund(returning)
        except ProviderSilent as error:
            log.warning("nothing is known of refund %s yet: %s", refund.id, error)
            raise ProviderUnavailable(str(payment.id)) from error
        except ProviderRefused as error:
            log.error("the provider refused refund %s: %s", refund.id, error)
            await self._settle(payment, refund, None)
            raise RefundRefused(refund.id) from error
        return await self._settle(payment, refund, external)

    async def _put_off(self, refund: Refund) -> None:
        later = self._clock.now() + next_check(self._first, refund.tries + 1)
        async with self._database.transaction(refund.tenant_id) as connection:
            await refund_rows.set_tried(connection, refund.id, later)

    async def _settle(self, payment: Payment, refund: Refund, external: str | None) -> Refund:
        """Given back, or, without an id of the provider's, not."""
        now = self._clock.now()
        async with self._database.transaction(payment.tenant_id) as connection:
            await repository.find(connection, payment.id, lock=True)
            await subscriptions.hold(connection, payment.tenant_id)  # before the credits and the invoice, as everybody
            status: refund_rows.RefundStatus = "completed" if external else "failed"
            if await refund_rows.set_status(connection, refund.id, status, now, external_id=external):
                after = "refunded" if external else "refund_failed"
                await repository.note(connection, payment, "refunding", after, f"refund {refund.id}", now)
                if external:
                    await self._give_back(connection, payment, refund, now)
                else:
                    await refund_rows.release(connection, refund)
            settled = await refund_rows.find_by_client(connection, payment.id, refund.client_id)
        self._wake()
        return settled or refund

    async def _give_back(self, connection: Any, payment: Payment, refund: Refund, now: datetime) -> None:
        """What went back is charged no more, and a pack is the team's no more."""
        given = await refund_rows.sum_given(connection, payment.id)
        if payment.purpose == "credits":
            taken = await self._packs.take_back(connection, payment, refund.id, given - refund.amount, given)
            await refund_rows.set_taken(connection, refund.id, taken)
        await outbox.append(connection, [refund_rows.event_of(payment, refund, "provider", now)], at=now)
        # Last: the numbers of invoices are given one transaction after the other.
        await self._bills.give_back(connection, payment, payment.amount - given, refund.reason)


def _amount(payment: Payment, wanted: str | None) -> int:
    """In minor units. Raises NotRefundable, RefundTooLarge."""
    if payment.status != "completed":
        raise NotRefundable(payment.status)
    left = payment.amount - payment.refunded
    amount = left if wanted is None else _read(wanted, payment.currency)
    if left == 0 or not 0 < amount <= left:
        raise RefundTooLarge(Money(left, payment.currency).text, payment.currency)
    return amount


def _read(amount: str, currency: str) -> int:
    """Nothing at all for what is no amount."""
    try:
        return Money.parse(amount, currency).amount
    except ValueError:
        return 0
