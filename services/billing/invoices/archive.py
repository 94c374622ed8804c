"""Invoices as files. A PDF is made when it is first asked for, and kept: the same bytes ever after."""

import asyncio
from uuid import UUID

from prometheus_client import Counter

from services.billing.errors import InvoiceHasNoXml, InvoiceNotFound
from services.billing.invoices import cii, repository
from services.billing.invoices.printing import Printer
from services.billing.invoices.repository import Document, Invoice
from services.billing.invoices.service import InvoiceService
from shared.clock import Clock
from shared.db import Database

PRINTED = Counter("stowage_billing_invoices_printed_total", "Invoices made into a PDF", ["complete"])


class InvoiceArchive:
    def __init__(self, database: Database, invoices: InvoiceService, printer: Printer, clock: Clock) -> None:
        self._database = database
        self._invoices = invoices
        self._printer = printer
        self._clock = clock

    async def pdf(self, tenant: UUID, invoice_id: UUID) -> tuple[Invoice, Document]:
        """Raises InvoiceNotFound."""
        async with self._database.transaction(tenant) as connection:
            invoice = await repository.find(connection, invoice_id)
            kept = await repository.find_document(connection, invoice_id)
        if invoice is None:
            raise InvoiceNotFound
        if kept is not None:
            return invoice, kept
        printed = await asyncio.to_thread(self._printer.print, invoice)
        PRINTED.labels(str(printed.complete).lower()).inc()
        if not printed.complete:
            # Not for ever: it is made anew until the fonts are there.
            return invoice, printed.document
        async with self._database.transaction(tenant) as connection:
            if not await repository.keep_document(connection, invoice, printed.document, self._clock.now()):
                kept = await repository.find_document(connection, invoice_id)
        return invoice, kept or printed.document

    async def xml(self, tenant: UUID, invoice_id: UUID) -> tuple[Invoice, bytes]:
        """Raises InvoiceNotFound, InvoiceHasNoXml."""
        invoice = await self._invoices.get(tenant, invoice_id)
        if not cii.can_write(invoice):
            raise InvoiceHasNoXml(invoice.currency)
        return invoice, await asyncio.to_thread(cii.write, invoice)
