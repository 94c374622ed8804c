"""An open invoice is paid: what for, and what follows."""

from typing import Any
from uuid import UUID

from services.billing.errors import InvoiceNotOpen
from services.billing.invoices.repository import Invoice
from services.billing.invoices.service import InvoiceService
from services.billing.payments.fulfilment import Purchase
from services.billing.payments.repository import Payment
from services.billing.subscriptions import repository as subscriptions
from services.billing.subscriptions.rules import Part
from shared.money import Money


class InvoiceFulfilment:
    """What is paid twice, or after it was given up, pays nothing; what was credited since it was asked for is left
    over.
    """

    def __init__(self, invoices: InvoiceService) -> None:
        self._invoices = invoices

    async def fulfil(self, connection: Any, payment: Payment) -> int:
        # As everybody locks: the subscription, then the invoice.
        await subscriptions.hold(connection, payment.tenant_id)
        try:
            invoice = await self._invoices.pay(connection, UUID(payment.subject), payment.id)
        except InvoiceNotOpen:
            return 0
        used = min(payment.amount, invoice.gross - invoice.credited)
        await subscriptions.set_paid(connection, payment.tenant_id, invoice.id, Part(payment.id, used))
        return used

    def title(self, payment: Payment) -> str:
        return f"Invoice {payment.metadata['number']}"


def purchase_of(invoice: Invoice) -> Purchase:
    """Raises InvoiceNotOpen."""
    if invoice.kind != "invoice" or invoice.status != "open":
        raise InvoiceNotOpen(invoice.number, invoice.status)
    left = Money(invoice.gross - invoice.credited, invoice.currency)
    return Purchase("invoice", str(invoice.id), left, {"invoice": str(invoice.id), "number": invoice.number})
