"""Invoices and credit notes. All that write run inside the caller's transaction: no effect without its invoice."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.billing.details import repository as details
from services.billing.details.parties import Seller
from services.billing.errors import InvoiceNotFound, InvoiceNotOpen, NothingToInvoice, SellerUnknown
from services.billing.invoices import repository, rules
from services.billing.invoices.credits import credit_note
from services.billing.invoices.repository import Filter, Invoice, Line
from services.billing.invoices.rules import Credit, Item
from services.billing.invoices.tax import TaxRules
from services.billing.subscriptions import repository as subscriptions
from shared import outbox
from shared.clock import Clock
from shared.db import Database
from shared.events import InvoiceIssued
from shared.ids import new_id
from shared.money import Money

MOST_LINES = 500


class InvoiceService:
    """`seller` None: none can be issued. `template` as in `rules.number_of`; `due` after the issue of an open one."""

    def __init__(
        self, database: Database, tax: TaxRules, seller: Seller | None, template: str, due: timedelta, clock: Clock
    ) -> None:
        self._database = database
        self._tax = tax
        self._seller = seller
        self._template = template
        self._due = due
        self._clock = clock

    async def issue(
        self,
        connection: Any,
        tenant: UUID,
        lines: Sequence[Item],
        currency: str,
        at: datetime,
        *,
        payment_id: UUID | None = None,
        paid: bool = False,
        due_at: datetime | None = None,
        inclusive: bool = False,
    ) -> Invoice:
        """With a payment it is paid, and a second call for the payment returns the first one's invoice; so is one that
        is said to be `paid`, and one over nothing. `inclusive`: the prices hold the tax. The number's series is locked
        until the commit, so call it late. Raises SellerUnknown, NothingToInvoice.
        """
        await outbox.hold(connection, InvoiceIssued.topic, tenant)
        if payment_id is not None:
            await repository.lock_payment(connection, payment_id)
            if (found := await repository.find_for(connection, payment_id)) is not None:
                return found
        draft = await self._draft(connection, tenant, lines, currency, at, inclusive=inclusive)
        if payment_id is not None or paid or draft.gross == 0:
            draft = dataclasses.replace(draft, status="paid", payment_id=payment_id, paid_at=at)
        else:
            draft = dataclasses.replace(draft, due_at=due_at or at + self._due)
        return await self._write(connection, draft)

    async def pay(self, connection: Any, invoice_id: UUID, payment_id: UUID) -> Invoice:
        """Open → paid; the same payment again changes nothing. Raises InvoiceNotFound, InvoiceNotOpen."""
        invoice = await _lock(connection, invoice_id)
        if invoice.payment_id == payment_id:
            return invoice
        if invoice.status != "open":
            raise InvoiceNotOpen(invoice.number, invoice.status)
        await repository.change(connection, invoice_id, "paid", payment_id, self._clock.now())
        return await _lock(connection, invoice_id)

    async def void(self, connection: Any, invoice_id: UUID) -> Invoice:
        """Open → void: nobody asks for its money any more. Its number stays taken. Raises as `pay` does."""
        invoice = await _lock(connection, invoice_id)
        if invoice.status != "open":
            raise InvoiceNotOpen(invoice.number, invoice.status)
        await repository.change(connection, invoice_id, "void")
        return await _lock(connection, invoice_id)

    async def credit(
        self, connection: Any, invoice_id: UUID, lines: Sequence[Credit] | int | None, reason: str
    ) -> Invoice:
        """A credit note over some lines, over so much in all (gross, spread over the lines), or over all that is left.
        An open invoice that is credited whole asks for nothing any more, and its period counts as paid. Raises
        InvoiceNotFound, InvoiceNotOpen, CreditTooLarge.
        """
        if (invoice := await repository.find(connection, invoice_id)) is None:
            raise InvoiceNotFound
        await subscriptions.hold(connection, invoice.tenant_id)
        await outbox.hold(connection, InvoiceIssued.topic, invoice.tenant_id)
        invoice = await _lock(connection, invoice_id)
        if invoice.kind != "invoice" or invoice.status == "void":
            raise InvoiceNotOpen(invoice.number, invoice.kind.replace("_", " "))
        note = credit_note(invoice, lines, reason, self._clock.now())
        written = await self._write(connection, note)
        if invoice.status == "open" and invoice.credited + note.gross == invoice.gross:
            await repository.change(connection, invoice_id, "credited")
            await subscriptions.set_paid(connection, invoice.tenant_id, invoice_id)
        return written

    async def find(self, connection: Any, invoice_id: UUID) -> Invoice:
        """Inside the caller's transaction. Raises InvoiceNotFound."""
        if (invoice := await repository.find(connection, invoice_id)) is None:
            raise InvoiceNotFound
        return invoice

    async def find_paid(self, connection: Any, payment_id: UUID) -> Invoice | None:
        """The one that this payment paid."""
        return await repository.find_for(connection, payment_id)

    async def get(self, tenant: UUID, invoice_id: UUID) -> Invoice:
        """Raises InvoiceNotFound."""
        async with self._database.transaction(tenant) as connection:
            found = await repository.find(connection, invoice_id)
        if found is None:
            raise InvoiceNotFound
        return found

    async def list_newest(
        self, tenant: UUID, wanted: Filter, limit: int, after: tuple[datetime, UUID] | None
    ) -> list[Invoice]:
        async with self._database.transaction(tenant) as connection:
            return await repository.list_newest(connection, tenant, wanted, limit, after)

    async def give_credit(
        self, tenant: UUID, invoice_id: UUID, lines: Sequence[tuple[int, str]] | None, reason: str
    ) -> Invoice:
        """As `credit`, in a transaction of its own; amounts are decimal text. Raises NothingToInvoice, too."""
        currency, wanted = (await self.get(tenant, invoice_id)).currency, None
        try:
            if lines is not None:
                wanted = [Credit(place, Money.parse(text, currency).amount) for place, text in lines]
        except ValueError as error:
            raise NothingToInvoice(str(error)) from error
        async with self._database.transaction(tenant) as connection:
            return await self.credit(connection, invoice_id, wanted, reason)

    async def _draft(
        self, connection: Any, tenant: UUID, items: Sequence[Item], currency: str, at: datetime, *, inclusive: bool
    ) -> Invoice:
        """Without a number yet."""
        if self._seller is None:
            raise SellerUnknown
        if not 1 <= len(items) <= MOST_LINES or any(item.quantity == 0 or item.unit_price < 0 for item in items):
            raise NothingToInvoice("An invoice has lines, each with a quantity and a price that is not below zero.")
        buyer, _ = await details.get(connection, tenant)
        buyer = buyer if buyer.country else buyer.model_copy(update={"country": self._seller.country})
        try:
            tax = self._tax.tax(self._seller, buyer, at.date())
        except LookupError as error:
            raise NothingToInvoice(str(error)) from error
        lines = _lines(items, tax.rate, inclusive=inclusive)
        net, owed = sum(line.net for line in lines), sum(line.tax for line in lines)
        if net + owed < 0:
            raise NothingToInvoice("What is given back is more than what is charged: that is a credit note.")
        return Invoice(
            id=new_id(),
            tenant_id=tenant,
            issuer=self._seller.code,
            sequence=0,
            number="",
            kind="invoice",
            status="open",
            issued_at=at,
            due_at=None,
            currency=currency,
            seller=self._seller,
            buyer=buyer,
            tax_category=tax.category,
            net=net,
            tax=owed,
            gross=net + owed,
            lines=lines,
        )

    async def _write(self, connection: Any, draft: Invoice) -> Invoice:
        """Number, rows and event; the number is taken last of all that may fail."""
        sequence = await repository.take_number(connection, draft.issuer)
        number = rules.number_of(self._template, sequence, draft.issued_at.year)
        invoice = dataclasses.replace(draft, sequence=sequence, number=number)
        await repository.insert(connection, invoice)
        told = InvoiceIssued(
            tenant_id=invoice.tenant_id,
            invoice_id=invoice.id,
            number=number,
            kind=invoice.kind,
            gross=invoice.gross,
            currency=invoice.currency,
            due_at=invoice.due_at,
            at=invoice.issued_at,
        )
        await outbox.append(connection, [told], at=invoice.issued_at)
        return invoice


async def _lock(connection: Any, invoice_id: UUID) -> Invoice:
    found = await repository.lock(connection, invoice_id)
    if found is None:
        raise InvoiceNotFound
    return found


def _lines(items: Sequence[Item], rate: int, *, inclusive: bool) -> tuple[Line, ...]:
    prices = [item.quantity * item.unit_price for item in items]
    parts = rules.charge(prices, [rate] * len(items), inclusive=inclusive)
    return tuple(
        Line(position=position, net=part.net, tax=part.tax, tax_rate=rate, **dataclasses.asdict(item))
        for position, (item, part) in enumerate(zip(items, parts, strict=True), 1)
    )
