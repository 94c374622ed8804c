"""Invoices over a real database, without the rest of the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from services.billing.details import repository as details
from services.billing.details.parties import Buyer, Seller
from services.billing.invoices import tax
from services.billing.invoices.repository import Invoice
from services.billing.invoices.rules import Credit, Item
from services.billing.invoices.service import InvoiceService, _lines
from shared.clock import FixedClock
from shared.db import Database
from tests.fixtures.postgres import ServiceDatabase
from tests.services.billing.world import SELLER

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
PRO = Item("Stowage Pro", 1, 300, date(2026, 11, 22), date(2026, 12, 21))
TRAFFIC = Item("Extra traffic, GB", 12, 45)


@dataclass
class Books:
    database: Database
    invoices: InvoiceService
    clock: FixedClock

    async def issue(self, tenant: UUID, *items: Item, **how: Any) -> Invoice:
        async with self.database.transaction() as connection:
            currency = how.pop("currency", "EUR")
            return await self.invoices.issue(connection, tenant, items or [PRO], currency, NOW, **how)

    async def credit(self, invoice: Invoice, lines: Any = None, reason: str = "given back") -> Invoice:
        async with self.database.transaction() as connection:
            return await self.invoices.credit(connection, invoice.id, lines, reason)

    async def pay(self, invoice: Invoice, payment: UUID) -> Invoice:
        async with self.database.transaction() as connection:
            return await self.invoices.pay(connection, invoice.id, payment)

    async def get(self, invoice: Invoice) -> Invoice:
        return await self.invoices.get(invoice.tenant_id, invoice.id)

    async def buyer(self, tenant: UUID, **told: Any) -> None:
        async with self.database.transaction() as connection:
            await details.put(connection, tenant, Buyer(**{"name": "Ada", "country": "DE", **told}), NOW, None)


@asynccontextmanager
async def open_books(dsn: ServiceDatabase, *, seller: Seller | None = SELLER, size: int = 10) -> AsyncIterator[Books]:
    clock = FixedClock(NOW)
    async with Database(dsn.worker, pool_size=size) as database:
        service = InvoiceService(database, tax.load(), seller, "INV-{year}-{number:06}", timedelta(days=14), clock)
        yield Books(database, service, clock)


def drawn(*items: Item, language: str = "en", name: str = "Ada Lovelace Ltd", **changes: Any) -> Invoice:
    """An invoice that is in no database."""
    rate = 0 if changes.get("tax_category", "S") != "S" else 1900
    lines = _lines(items or (PRO, TRAFFIC, Item("Credit pack", 1, 123456)), rate, inclusive=True)
    net, owed = sum(line.net for line in lines), sum(line.tax for line in lines)
    address: dict[str, Any] = {"street": "1 Analytical Row", "postal_code": "75001", "city": "Paris", "country": "FR"}
    buyer = Buyer(name=name, vat_id="FR40303265045", email="ada@stowage.example", language=language, **address)
    told: dict[str, Any] = {
        "id": uuid4(),
        "tenant_id": uuid4(),
        "issuer": "main",
        "sequence": 42,
        "number": "INV-2026-000042",
        "kind": "invoice",
        "status": "paid",
        "issued_at": NOW,
        "due_at": None,
        "currency": "EUR",
        "seller": SELLER,
        "buyer": buyer,
        "tax_category": "S",
        "net": net,
        "tax": owed,
        "gross": net + owed,
        "lines": lines,
    }
    return Invoice(**{**told, **changes})


__all__ = ["NOW", "PRO", "TRAFFIC", "Books", "Credit", "drawn", "open_books"]
