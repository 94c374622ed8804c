"""Numbers without a gap, invoices that never change, credits that never exceed."""

import asyncio
import dataclasses
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.billing.errors import (
    CreditTooLarge,
    InvoiceNotFound,
    InvoiceNotOpen,
    NothingToInvoice,
    SellerUnknown,
)
from services.billing.invoices.bill import Paid, bill_payment
from services.billing.invoices.repository import Invoice
from services.billing.invoices.rules import Credit, Item
from shared.db import Database
from shared.money import Money
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.invoices.books import NOW, PRO, TRAFFIC, Books, open_books


async def numbers(dsn: ServiceDatabase) -> list[int]:
    return [row["sequence"] for row in await query(dsn.worker, "SELECT sequence FROM invoice ORDER BY sequence")]


async def test_64_at_once_and_a_third_of_them_fail(billing_db: ServiceDatabase) -> None:
    """Some roll back, some lose their connection after the number was taken, as in a crash."""
    async with open_books(billing_db, size=32) as books:

        async def one(place: int) -> Invoice | None:
            try:
                async with books.database.transaction() as connection:
                    issued = await books.invoices.issue(connection, uuid4(), [PRO], "EUR", NOW, payment_id=uuid4())
                    if place % 6 == 0:
                        raise LookupError
                    if place % 6 == 3:
                        connection.terminate()
                return issued
            except (LookupError, asyncpg.InterfaceError, asyncpg.ConnectionDoesNotExistError):
                return None

        issued = [found for found in await asyncio.gather(*[one(place) for place in range(64)]) if found]
    assert len(issued) == 64 - 11 - 11
    assert await numbers(billing_db) == list(range(1, len(issued) + 1))
    assert sorted(found.number for found in issued) == [f"INV-2026-{n:06}" for n in range(1, len(issued) + 1)]


async def test_a_payment_has_one_invoice(billing_db: ServiceDatabase) -> None:
    tenant, payment = uuid4(), uuid4()
    async with open_books(billing_db) as books:
        found = await asyncio.gather(*[books.issue(tenant, payment_id=payment) for _ in range(8)])
        assert len({invoice.id for invoice in found}) == 1
        assert (found[0].status, found[0].due_at, found[0].gross) == ("paid", None, 357)
        assert await books.get(found[0]) == found[0]
    assert await numbers(billing_db) == [1]
    events = await query(billing_db.worker, "SELECT type FROM outbox_event")
    assert [row["type"] for row in events] == ["invoice.issued"]


async def test_an_open_invoice_is_paid_once(billing_db: ServiceDatabase) -> None:
    async with open_books(billing_db) as books:
        invoice = await books.issue(uuid4())
        assert (invoice.status, f"{invoice.due_at:%F}") == ("open", "2026-12-06")
        payment = uuid4()
        paid = await books.pay(invoice, payment)
        assert (paid.status, paid.payment_id, paid.paid_at) == ("paid", payment, NOW)
        assert await books.pay(invoice, payment) == paid
        with pytest.raises(InvoiceNotOpen):
            await books.pay(invoice, uuid4())
        with pytest.raises(InvoiceNotFound):
            await books.pay(dataclasses.replace(invoice, id=uuid4()), payment)
        async with books.database.transaction() as connection:
            given_up = await books.issue(uuid4())
            assert (await books.invoices.void(connection, given_up.id)).status == "void"
        with pytest.raises(InvoiceNotOpen):
            await books.credit(given_up)


async def test_what_was_issued_never_changes(billing_db: ServiceDatabase) -> None:
    async with open_books(billing_db) as books:
        paid = await books.issue(uuid4(), payment_id=uuid4())
        still_open = await books.issue(uuid4())
    kept = "INSERT INTO invoice_document VALUES ($1, $2, 'hash', 'bytes', now())"
    await query(billing_db.worker, kept, paid.id, paid.tenant_id)
    changes = [
        f"UPDATE invoice SET net = 1, gross = tax + 1 WHERE id = '{still_open.id}'",
        f"UPDATE invoice SET buyer = '{{}}', status = 'paid' WHERE id = '{still_open.id}'",
        f"UPDATE invoice SET number = 'x', status = 'void' WHERE id = '{still_open.id}'",
        f"UPDATE invoice SET status = 'void', payment_id = '{uuid4()}' WHERE id = '{still_open.id}'",
        f"UPDATE invoice SET status = 'void' WHERE id = '{paid.id}'",
        f"UPDATE invoice SET payment_id = NULL WHERE id = '{paid.id}'",
        "DELETE FROM invoice",
        "UPDATE invoice_line SET net = net + 1",
        "DELETE FROM invoice_line",
        "DELETE FROM invoice_document",
    ]
    for change in changes:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await query(billing_db.worker, change)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await query(billing_db.superuser, "TRUNCATE invoice CASCADE")
    more = "INSERT INTO invoice_line SELECT tenant_id, invoice_id, 2, description, 1, 0, 0, 0, 0 FROM invoice_line"
    await query(billing_db.worker, more)  # a line of nothing changes no sum


async def test_the_database_refuses_lines_that_do_not_sum(billing_db: ServiceDatabase) -> None:
    wrong = """
        WITH i AS (INSERT INTO issuer VALUES ('main', 1)), v AS (
            INSERT INTO invoice (id, tenant_id, issuer, sequence, number, kind, status, issued_at, due_at, currency,
                seller, buyer, tax_category, net, tax, gross)
            VALUES (gen_random_uuid(), gen_random_uuid(), 'main', 1, '1', 'invoice', 'open', now(), now(), 'EUR',
                '{}', '{}', 'S', 100, 19, 119) RETURNING id, tenant_id
        )
        INSERT INTO invoice_line SELECT tenant_id, id, 1, 'x', 1, 99, 99, 1900, 19 FROM v
    """
    await query(billing_db.worker, "INSERT INTO issuer VALUES ('main', 0)")
    with pytest.raises(asyncpg.CheckViolationError, match="do not sum"):
        await query(billing_db.worker, wrong.replace("WITH i AS (INSERT INTO issuer VALUES ('main', 1)), v", "WITH v"))
    assert await numbers(billing_db) == []


async def test_credit_notes_never_exceed(billing_db: ServiceDatabase) -> None:
    async with open_books(billing_db, size=20) as books:
        invoice = await books.issue(uuid4(), PRO, TRAFFIC, payment_id=uuid4())
        note = await books.credit(invoice, [Credit(2, 100)])
        assert (note.kind, note.status, note.gross, note.refers_to) == ("credit_note", "paid", 100, invoice.id)
        assert [(line.credits, line.quantity, line.unit_price) for line in note.lines] == [(2, 1, note.net)]
        assert await books.get(note) == note

        async def try_all(_: int) -> int:
            try:
                return (await books.credit(invoice)).gross
            except CreditTooLarge:
                return 0

        given = await asyncio.gather(*[try_all(n) for n in range(16)])
        assert sorted(given)[-2:] == [0, invoice.gross - 100]
        after = await books.get(invoice)
        assert (after.status, after.credited) == ("paid", invoice.gross)
        assert [line.credited for line in after.lines] == [line.amounts.gross for line in invoice.lines]
        notes = [n for n in await listed(books, invoice) if n.kind == "credit_note"]
        assert (sum(n.net for n in notes), sum(n.tax for n in notes)) == (invoice.net, invoice.tax)
        with pytest.raises(InvoiceNotOpen):
            await books.credit(note)
    assert await numbers(billing_db) == [1, 2, 3]


async def listed(books: Books, invoice: Invoice) -> list[Invoice]:
    from services.billing.invoices.repository import Filter

    return await books.invoices.list_newest(invoice.tenant_id, Filter(), 50, None)


async def test_an_open_invoice_credited_whole_asks_for_nothing(billing_db: ServiceDatabase) -> None:
    async with open_books(billing_db) as books:
        invoice = await books.issue(uuid4())
        await books.credit(invoice, 57)
        assert (await books.get(invoice)).status == "open"
        await books.credit(invoice, 300)
        assert (await books.get(invoice)).status == "credited"
        with pytest.raises(InvoiceNotOpen):
            await books.pay(invoice, uuid4())


async def test_buyer_and_tax_are_those_of_the_day_it_was_issued(billing_db: ServiceDatabase) -> None:
    tenant = uuid4()
    async with open_books(billing_db) as books:
        await books.buyer(tenant, name="Société Ada", country="FR", vat_id="FR40303265045", language="fr")
        invoice = await books.issue(tenant)
        assert (invoice.tax_category, invoice.tax, invoice.gross) == ("AE", 0, 300)
        await books.buyer(tenant, name="Ada in Berlin")
        assert (await books.get(invoice)).buyer.name == "Société Ada"
        assert (await books.issue(tenant)).gross == 357
        note = await books.credit(invoice)
        assert (note.buyer.name, note.tax_category, note.gross) == ("Société Ada", "AE", 300)


async def test_what_cannot_be_invoiced_takes_no_number(billing_db: ServiceDatabase) -> None:
    async with open_books(billing_db) as books:
        for items in ([], [Item("x", 0, 1)], [Item("x", 1, -1)], [Item("x", -1, 5), Item("y", 1, 4)]):
            with pytest.raises(NothingToInvoice):
                async with books.database.transaction() as connection:
                    await books.invoices.issue(connection, uuid4(), items, "EUR", NOW)
        unused = await books.issue(uuid4(), Item("Pro", 1, 900), Item("Unused days of Free", -1, 150), inclusive=True)
        assert (unused.sequence, unused.gross) == (1, 750)
        assert [line.amounts.gross for line in unused.lines] == [900, -150]
    async with open_books(billing_db, seller=None) as books:
        with pytest.raises(SellerUnknown):
            await books.issue(uuid4())


async def test_a_payment_is_billed_at_what_was_paid(billing_db: ServiceDatabase) -> None:
    tenant: UUID = uuid4()
    paid = Paid(uuid4(), tenant, Money(300, "EUR"), "Stowage Pro", NOW, PRO.period_from, PRO.period_to)
    async with open_books(billing_db, seller=None) as books, books.database.transaction() as connection:
        assert await bill_payment(connection, books.invoices, paid) is None  # and the payment goes on
    async with open_books(billing_db) as books:
        async with Database(billing_db.app) as own, own.transaction(tenant) as connection:
            first = await bill_payment(connection, books.invoices, paid)
        async with books.database.transaction() as connection:
            again = await bill_payment(connection, books.invoices, paid)
    assert first is not None
    assert first == again
    assert (first.net, first.tax, first.gross, first.status) == (252, 48, 300, "paid")
    assert [(line.period_from, line.period_to) for line in first.lines] == [(PRO.period_from, PRO.period_to)]


async def test_another_tenant_sees_none_of_it(billing_db: ServiceDatabase) -> None:
    async with open_books(billing_db) as books:
        invoice = await books.issue(uuid4())
    async with Database(billing_db.app) as own:
        for tenant, rows in ((invoice.tenant_id, 1), (uuid4(), 0)):
            async with own.transaction(tenant) as connection:
                for table in ("invoice", "invoice_line"):
                    assert await connection.fetchval(f"SELECT count(*) FROM {table}") == rows
