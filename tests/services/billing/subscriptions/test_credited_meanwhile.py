"""An invoice is credited in part while it is being paid: what comes too much is the team's, once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.billing.credits.catalogue import load_credits
from services.billing.credits.packs import credits_for
from services.billing.invoices.paying import purchase_of
from services.billing.payments.repository import Payment
from shared.money import Money
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.subscriptions.test_time_travel import Travel, travelling

ROUNDS = 8
_GRANTS = "SELECT source, amount FROM credit_grant WHERE tenant_id = $1"
_INVOICES = "SELECT gross, kind, status, payment_id IS NOT NULL FROM invoice WHERE tenant_id = $1 ORDER BY sequence"
_PAYMENT = "SELECT status, refunded, owed FROM payment WHERE id = $1"
_STEPS = "SELECT to_status FROM payment_transition WHERE payment_id = $1 ORDER BY id"
_EVENTS = """
    SELECT type, (body::jsonb ->> 'amount')::int, body::jsonb ->> 'to' FROM outbox_event
    WHERE tenant_id = $1 AND type LIKE 'payment.%' ORDER BY seq OFFSET 1
"""


@pytest.fixture
async def travel(billing_db: ServiceDatabase) -> AsyncIterator[Travel]:
    async with travelling(billing_db, packs=True) as found:
        yield found
        await found.balance()


async def rows(travel: Travel, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await query(travel.dsn.superuser, sql, *(values or (travel.tenant,)))]


async def begun(travel: Travel) -> tuple[UUID, Payment]:
    """The open invoice over 3.50 of a second month, and a payment of it that was begun."""
    await travel.buy("tier2")
    travel.at = (await travel.subscription()).period_end or travel.at
    await travel.renewals.run()
    owed = (await travel.subscription()).invoice_id
    assert owed is not None
    return owed, await travel.start(purchase_of(await travel.invoices.get(travel.tenant, owed)))


async def credit(travel: Travel, invoice: UUID) -> None:
    await travel.invoices.give_credit(travel.tenant, invoice, [(1, "1.00")], "our fault")


async def is_paid(travel: Travel, invoice: UUID) -> None:
    found = await travel.subscription()
    assert (found.plan, found.status, found.invoice_id) == ("tier2", "active", None)
    assert (await travel.invoices.get(travel.tenant, invoice)).status == "paid"


async def test_credited_first_the_rest_is_credit(travel: Travel) -> None:
    invoice, payment = await begun(travel)
    await credit(travel, invoice)
    await travel.settle(payment)
    await is_paid(travel, invoice)
    worth = credits_for(Money(100, "EUR"), load_credits().packs)
    assert await rows(travel, _GRANTS) == [("refund", worth)]
    assert await rows(travel, _PAYMENT, payment.id) == [("completed", 100, 0)]
    assert [step for (step,) in await rows(travel, _STEPS, payment.id)] == ["completed", "refunded"]
    assert await rows(travel, _EVENTS) == [("payment.completed", 350, None), ("payment.refunded", 100, "credit")]
    assert (await rows(travel, _INVOICES))[1:] == [
        (350, "invoice", "paid", True),
        (100, "credit_note", "paid", False),
        (100, "invoice", "paid", False),
    ]
    await travel.balance()
    await travel.give_back(payment.id, "0.50")
    await travel.balance()
    await travel.give_back(payment.id)
    assert await rows(travel, _PAYMENT, payment.id) == [("completed", 350, 0)], "2.50 went back, and 1.00 is credit"


async def test_where_it_buys_no_credits_it_is_owed(travel: Travel, monkeypatch: pytest.MonkeyPatch) -> None:
    invoice, payment = await begun(travel)
    await credit(travel, invoice)
    monkeypatch.setattr("services.billing.credits.packs.credits_for", lambda _money, _packs: None)
    await travel.settle(payment)
    await is_paid(travel, invoice)
    assert await rows(travel, _PAYMENT, payment.id) == [("completed", 0, 100)]
    assert (await rows(travel, _EVENTS))[1:] == [("payment.refunded", 100, "due")]
    await travel.balance()
    ((owed,),) = [(row["due"],) for row in await travel.refunds.list_owed(9, None)]
    assert owed == 100
    await travel.give_back(payment.id, "0.40")
    assert [row["due"] for row in await travel.refunds.list_owed(9, None)] == [60]
    await travel.balance()
    await travel.give_back(payment.id, "0.60")
    assert await travel.refunds.list_owed(9, None) == []
    assert len(await rows(travel, _INVOICES)) == 3, "what was owed had no invoice, so it has no second credit note"


async def test_paid_first_the_note_moves_no_money(travel: Travel) -> None:
    """Staff's own promise over a paid invoice, which a refund then keeps."""
    invoice, payment = await begun(travel)
    await travel.settle(payment)
    await credit(travel, invoice)
    await is_paid(travel, invoice)
    assert await rows(travel, _GRANTS) == []
    assert await rows(travel, _PAYMENT, payment.id) == [("completed", 0, 0)]
    await travel.give_back(payment.id, "1.00")


async def test_both_at_once(travel: Travel) -> None:
    """Whichever was first, nothing vanishes and nothing is there twice."""
    for _ in range(ROUNDS):
        travel.tenant = uuid4()
        invoice, payment = await begun(travel)
        await asyncio.gather(travel.settle(payment), credit(travel, invoice))
        await is_paid(travel, invoice)
        ((_, refunded, _),) = await rows(travel, _PAYMENT, payment.id)
        assert (refunded, len(await rows(travel, _GRANTS))) in {(100, 1), (0, 0)}
        if not refunded:
            await travel.give_back(payment.id, "1.00")
        await travel.balance()


async def test_paid_while_it_is_being_credited(travel: Travel) -> None:
    invoice, payment = await begun(travel)
    async with travel.database.transaction() as connection:
        await travel.invoices.credit(connection, invoice, 100, "our fault")
        paying = asyncio.create_task(travel.settle(payment))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(15):
            while not await query(travel.dsn.superuser, waiting):
                await asyncio.sleep(0.01)
    await paying
    await is_paid(travel, invoice)
    assert await rows(travel, _PAYMENT, payment.id) == [("completed", 100, 0)]
