"""The invoice of a payment: what settlement calls when money has come."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from services.billing.details import repository as details
from services.billing.errors import NothingToInvoice, SellerUnknown
from services.billing.invoices.labels import labels_of
from services.billing.invoices.repository import Invoice
from services.billing.invoices.rules import Item
from services.billing.invoices.service import InvoiceService
from services.billing.payments.fulfilment import Fulfilment
from services.billing.payments.repository import Payment
from services.billing.subscriptions import repository as subscriptions
from services.billing.subscriptions.rules import days_of
from shared.events import PaymentPurpose
from shared.money import Money

log = logging.getLogger(__name__)

UNBILLED = Counter("stowage_billing_unbilled_total", "Payments without an invoice: no seller, or no rate of tax")


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment that was completed `at` that moment. `money` is what was paid, tax included; `left` minor units of the
    period before were taken off it. `part`: of a payment that has another invoice, which is the one it paid.
    """

    payment_id: UUID
    tenant_id: UUID
    money: Money
    description: str
    at: datetime
    period_from: date | None = None
    period_to: date | None = None
    left: int = 0
    part: bool = False


async def bill_payment(connection: Any, invoices: InvoiceService, paid: Paid) -> Invoice | None:
    """Once a payment, in the transaction that completes it, as its last step. None where no invoice can be issued: the
    money has come, so what it buys is given; the same call makes the invoice later, when the settings allow it.
    """
    items = [Item(paid.description, 1, paid.money.amount + paid.left, paid.period_from, paid.period_to)]
    if paid.left:
        items.append(await unused_time(connection, paid.tenant_id, paid.left))
    try:
        return await invoices.issue(
            connection,
            paid.tenant_id,
            items,
            paid.money.currency,
            paid.at,
            payment_id=None if paid.part else paid.payment_id,
            paid=True,
            inclusive=True,
        )
    except (SellerUnknown, NothingToInvoice) as error:
        UNBILLED.inc()
        log.error("payment %s has no invoice: %s", paid.payment_id, error)
        return None


class PaymentBills:
    """Invoices for what payments bought, described as on the provider's page."""

    def __init__(self, invoices: InvoiceService, titles: Mapping[PaymentPurpose, Fulfilment]) -> None:
        self._invoices = invoices
        self._titles = titles

    async def bill(self, connection: Any, payment: Payment, at: datetime) -> None:
        if payment.purpose == "invoice":
            return  # there is one
        title = self._titles[payment.purpose].title(payment)
        left = Money.parse(payment.metadata.get("left", "0"), payment.currency)
        days = await days_under_way(connection, payment.tenant_id) if payment.purpose == "plan" else (None, None)
        paid = Paid(payment.id, payment.tenant_id, payment.money, title, at, *days, left=left.amount)
        await bill_payment(connection, self._invoices, paid)

    async def bill_credits(self, connection: Any, payment: Payment, money: Money, number: int, at: datetime) -> None:
        """The money stays ours and bought credits after all: so there is an invoice of a sale of credits."""
        title = await credits_title(connection, payment.tenant_id, number)
        paid = Paid(payment.id, payment.tenant_id, money, title, at, part=money != payment.money)
        await bill_payment(connection, self._invoices, paid)

    async def bill_change(
        self, connection: Any, tenant: UUID, items: Sequence[Item], currency: str, at: datetime
    ) -> None:
        """Of a change that was paid for with what was left: its lines sum to nothing."""
        try:
            await self._invoices.issue(connection, tenant, items, currency, at, inclusive=True)
        except (SellerUnknown, NothingToInvoice) as error:
            UNBILLED.inc()
            log.error("a change of %s has no invoice: %s", tenant, error)

    async def give_back(self, connection: Any, payment: Payment, kept: int, reason: str) -> None:
        """What staff credited of it before is not credited a second time. Nothing where there was no invoice."""
        invoice = await self._invoices.find_paid(connection, payment.id)
        charged = invoice.gross - invoice.credited if invoice else 0
        if invoice is not None and charged > kept:
            await self._invoices.credit(connection, invoice.id, charged - kept, reason)


async def credits_title(connection: Any, tenant: UUID, number: int) -> str:
    """In the buyer's language, as `unused_time`."""
    buyer, _ = await details.get(connection, tenant)
    return labels_of(buyer.language).credits_of(number)


async def unused_time(connection: Any, tenant: UUID, left: int) -> Item:
    """What is given back of the period before, in the buyer's language: a line stays as it was issued."""
    buyer, _ = await details.get(connection, tenant)
    return Item(labels_of(buyer.language).unused, -1, left)


async def days_under_way(connection: Any, tenant: UUID) -> tuple[date | None, date | None]:
    """Of the period that has just begun."""
    found = await subscriptions.find(connection, tenant)
    if found is None or found.period_start is None or found.period_end is None:
        return None, None
    return days_of(found.period_start, found.period_end, await subscriptions.zone_of(connection, tenant))
