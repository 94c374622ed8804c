"""Invoices issued, numbered, written as XML, set as PDF and kept; beside the PDF library with the same pages alone."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from benchmarks.report import Row
from services.billing.details.parties import Seller
from services.billing.invoices import tax
from services.billing.invoices.archive import InvoiceArchive
from services.billing.invoices.bill import Paid, bill_payment
from services.billing.invoices.document import document_of
from services.billing.invoices.printing import Printer
from services.billing.invoices.repository import Invoice
from services.billing.invoices.service import InvoiceService
from shared.clock import SystemClock
from shared.db import Database
from shared.money import Money
from tests.fixtures.postgres import PostgresServer, ServiceDatabase

COUNT = 1000
ROUNDS = 3
AT_ONCE = 4  # of each: while one waits for the database, another is set
SELLER = Seller(name="Stowage Storage GmbH", city="Berlin", country="DE", vat_id="DE136695976")


async def run(pg: PostgresServer) -> list[Row]:
    printer, dsn = Printer(Path("none")), pg.create("billing")
    await _ours(dsn, printer, AT_ONCE)  # nobody pays for what is loaded once a process
    rates: dict[str, list[float]] = {"ours": [], "alone": []}
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        issued = await _ours(dsn, printer, COUNT)
        rates["ours"].append(COUNT / (time.perf_counter() - begun))
        rates["alone"].append(COUNT / await asyncio.to_thread(_alone, printer, issued))
    ours, alone = max(rates["ours"]), max(rates["alone"])
    ratio = ours / alone
    return [
        Row(
            f"{COUNT:,} payments to invoices with PDF",
            "invoices/s",
            ours,
            alone,
            alone,
            f"{ratio:.2f} × Typst alone",
            "≥ 0.5 × Typst alone",
            ratio >= 0.5,
            f"the best of {ROUNDS} rounds each, in turn; ours has a number, EN 16931 XML inside and is kept; Typst "
            "alone sets the same pages with nothing attached",
        )
    ]


async def _ours(dsn: ServiceDatabase, printer: Printer, count: int) -> list[Invoice]:
    async with Database(dsn.worker) as database:
        clock = SystemClock()
        service = InvoiceService(database, tax.load(), SELLER, "INV-{year}-{number:06}", timedelta(14), clock)
        archive = InvoiceArchive(database, service, printer, clock)
        free = asyncio.Semaphore(AT_ONCE)

        async def one(tenant: UUID) -> Invoice:
            async with free:
                async with database.transaction() as connection:
                    invoice = await bill_payment(connection, service, _paid(tenant))
                assert invoice is not None
                _, document = await archive.pdf(tenant, invoice.id)
                assert document.content.startswith(b"%PDF")
                return invoice

        return await asyncio.gather(*[one(uuid4()) for _ in range(count)])


def _paid(tenant: UUID) -> Paid:
    month = date(2026, 11, 1), date(2026, 11, 30)
    return Paid(uuid4(), tenant, Money(300, "EUR"), "Stowage Pro", datetime.now(UTC), *month)


def _alone(printer: Printer, issued: list[Invoice]) -> float:
    """Seconds."""
    told = [{"data": json.dumps(document_of(invoice))} for invoice in issued]
    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert all(threads.map(lambda inputs: _set(printer, inputs), told))
    return time.perf_counter() - begun


def _set(printer: Printer, inputs: dict[str, str]) -> Any:
    import typst

    compiler = typst.Compiler(font_paths=printer._fonts)
    return compiler.compile(printer._template, sys_inputs=inputs, format="pdf", pdf_standards="a-3b", timestamp=0)
