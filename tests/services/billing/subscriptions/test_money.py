"""Money that comes, goes back or is left over: it is somebody's, once, and on an invoice. The books are looked at after
each of them (`travel`).
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.billing.credits.catalogue import load_credits
from services.billing.credits.packs import credits_for, purchase_of
from services.billing.details import repository as details
from services.billing.details.parties import Buyer
from services.billing.errors import PaymentRequired, RestNotCreditable
from services.billing.invoices import tax
from services.billing.invoices.paying import purchase_of as invoice_of
from services.billing.invoices.service import InvoiceService
from services.billing.payments.fulfilment import Purchase
from services.billing.subscriptions.changes import Wanted
from services.billing.subscriptions.handlers import TenantHandler
from services.billing.subscriptions.renewals import Renewals
from shared.events import TenantDeleted
from shared.kafka import Record
from shared.money import Money
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.subscriptions.test_time_travel import DAY, Travel, travelling

_GRANTS = "SELECT source, amount, remaining FROM credit_grant WHERE tenant_id = $1 ORDER BY created_at"
_STEPS = "SELECT to_status FROM payment_transition WHERE payment_id = $1 ORDER BY id"
_LINES = """
    SELECT l.description, l.net + l.tax AS gross, l.tax FROM invoice_line AS l JOIN invoice AS i ON i.id = l.invoice_id
    WHERE i.tenant_id = $1 ORDER BY i.sequence, l.position
"""


@pytest.fixture
async def travel(billing_db: ServiceDatabase) -> AsyncIterator[Travel]:
    async with travelling(billing_db, packs=True) as found:
        yield found
        await found.balance()


async def rows(travel: Travel, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await query(travel.dsn.superuser, sql, *(values or (travel.tenant,)))]


async def steps(travel: Travel, payment: Any) -> list[str]:
    return [row[0] for row in await rows(travel, _STEPS, payment)]


async def refunded(travel: Travel, payment: Any) -> int:
    return int((await rows(travel, "SELECT refunded FROM payment WHERE id = $1", payment))[0][0])


async def owing(travel: Travel, code: str = "tier1") -> Any:
    """The team's open invoice of its second period."""
    await travel.buy(code)
    travel.at = (await travel.subscription()).period_end or travel.at
    await travel.renewals.run()
    owed = (await travel.subscription()).invoice_id
    assert owed is not None
    return owed


@pytest.mark.parametrize("after", ["grace", "cancel", "upgrade"])
async def test_a_renewal_that_is_credited_whole_counts_as_paid(travel: Travel, after: str) -> None:
    owed = await owing(travel)
    await travel.invoices.give_credit(travel.tenant, owed, None, "our fault")
    found = await travel.subscription()
    assert (found.status, found.plan, found.invoice_id) == ("active", "tier1", None)
    if after == "upgrade":
        await travel.buy("tier4")
        assert (await travel.subscription()).plan == "tier4"
    elif after == "cancel":
        await travel.changes.choose(travel.tenant, Wanted(travel.catalogue.default.code, at_once=True))
    else:
        travel.at += 16 * DAY
        assert await travel.renewals.run() == 0
        assert (await travel.subscription()).plan == "tier1"


async def test_what_was_credited_by_staff_in_the_middle_of_a_change_is_not_voided(travel: Travel) -> None:
    """A database from before: past due on an invoice that asks for nothing."""
    owed = await owing(travel)
    await query(travel.dsn.superuser, "UPDATE invoice SET status = 'credited' WHERE id = $1", owed)
    await query(travel.dsn.superuser, "UPDATE invoice SET status = 'credited' WHERE false")
    travel.at += 16 * DAY
    assert await travel.renewals.run() == 1
    assert (await travel.subscription()).plan == travel.catalogue.default.code
    travel.tenant = uuid4()  # its books are short of the credit note


async def test_a_stale_offer_becomes_credit_once(travel: Travel) -> None:
    await travel.buy("tier2")
    cheap = await travel.offer("tier4")
    travel.at += 40 * DAY
    await travel.renewals.run()
    payment = await travel.pay(cheap)
    assert await steps(travel, payment) == ["completed", "refunded"]
    assert await refunded(travel, payment) == cheap.money.amount, "so that nobody gives it back a second time"
    assert (await travel.told("payment.completed"), await travel.told("payment.refunded")) == (1, 1)
    worth = credits_for(cheap.money, load_credits().packs)
    assert (await rows(travel, _LINES))[-1][:2] == (f"{worth} credits", cheap.money.amount)


@pytest.mark.parametrize("twice", [True, False])
async def test_an_invoice_that_is_paid_twice_or_void(travel: Travel, twice: bool) -> None:
    purchase = invoice_of(await travel.invoices.get(travel.tenant, await owing(travel)))
    if twice:
        await travel.pay(purchase)
    else:
        travel.at += 15 * DAY
        await travel.renewals.run()
    late = await travel.pay(purchase)
    assert await refunded(travel, late) == purchase.money.amount
    assert await steps(travel, late) == ["completed", "refunded"]
    assert len(await rows(travel, _GRANTS)) == 1
    assert await travel.told("payment.completed") == (2 if twice else 1)


@pytest.mark.parametrize("purpose", ["plan", "invoice"])
async def test_what_finds_no_use_and_no_credits_is_due(
    travel: Travel, monkeypatch: pytest.MonkeyPatch, purpose: str
) -> None:
    """Nothing waits for ever, and nobody gets a plan at a price that is no more."""
    if purpose == "plan":
        await travel.buy("tier2")
        stale: Purchase = await travel.offer("tier4")
        travel.at += 40 * DAY
        await travel.renewals.run()
    else:
        stale = invoice_of(await travel.invoices.get(travel.tenant, await owing(travel, "tier2")))
        await travel.pay(stale)
    monkeypatch.setattr("services.billing.credits.packs.credits_for", lambda _money, _packs: None)
    payment = await travel.pay(stale)
    assert await steps(travel, payment) == ["completed", "refund_due"]
    assert (await travel.subscription()).plan == "tier2"
    assert (await rows(travel, _GRANTS), await refunded(travel, payment)) == ([], 0)
    await travel.balance()
    await travel.give_back(payment)


async def test_a_refund_is_a_credit_note(travel: Travel) -> None:
    await travel.buy("tier2")
    travel.at += 10 * DAY
    payment = await travel.pay(await travel.offer("tier4"))
    for amount in ("1.01", "0.01", None):
        await travel.give_back(payment, amount)
        await travel.balance()
    notes = await rows(
        travel, "SELECT gross FROM invoice WHERE tenant_id = $1 AND kind = 'credit_note' ORDER BY sequence"
    )
    paid = await rows(travel, "SELECT amount FROM payment WHERE id = $1", payment)
    assert [gross for (gross,) in notes[:2]] == [101, 1]
    assert sum(gross for (gross,) in notes) == paid[0][0]


async def test_what_staff_credited_before_is_not_credited_again(travel: Travel) -> None:
    payment = await travel.pay(await travel.offer("tier2"))
    ((invoice,),) = await rows(travel, "SELECT id FROM invoice WHERE tenant_id = $1")
    await travel.invoices.give_credit(travel.tenant, invoice, [(1, "1.00")], "our fault")
    await travel.give_back(payment, "1.00")
    await travel.balance()
    await travel.give_back(payment)
    assert [gross for (gross,) in await rows(travel, "SELECT gross FROM invoice WHERE refers_to = $1", invoice)] == [
        100,
        250,
    ]


async def test_a_refunded_pack_gives_its_credits_back(travel: Travel) -> None:
    """A part of the money takes that part of the credits; what is spent stays spent, and the refund says so."""
    payment = await travel.pay(purchase_of(load_credits(), "small", "EUR"))
    part = await travel.give_back(payment, "1.00")
    assert (part.credits_taken, part.credits_spent) == (20, 0), "100 credits were 4.99"
    assert await rows(travel, _GRANTS) == [("purchase", 100, 80)]
    spend = "SELECT id FROM credit_grant WHERE tenant_id = $1"
    ((grant,),) = await rows(travel, spend)
    await travel.spend(30)
    rest = await travel.give_back(payment)
    assert (rest.credits_taken, rest.credits_spent) == (50, 30)
    assert await rows(travel, _GRANTS) == [("purchase", 100, 0)]
    account = "SELECT available, spent, expired FROM credit_account WHERE tenant_id = $1"
    assert await rows(travel, account) == [(0, 30, 0)]
    posted = (
        "SELECT sum(amount)::bigint FROM credit_posting WHERE tenant_id = $1 AND grant_id = $2 AND account = 'purchase'"
    )
    assert await rows(travel, posted, travel.tenant, grant) == [(-30,)], "bought, less what was given back"


async def test_without_a_seller_a_plan_ends_when_an_unpaid_one_would(travel: Travel) -> None:
    await travel.buy("tier1")
    nobody = InvoiceService(travel.database, tax.load(), None, "{number}", 14 * DAY, travel)
    renewals = Renewals(travel.database, travel.catalogue, travel.subscriptions, nobody, travel, lambda: None)
    end = (await travel.subscription()).period_end
    assert end is not None
    travel.at = end + 14 * DAY - timedelta(seconds=1)
    assert await renewals.run() == 0
    assert (await travel.subscription()).plan == "tier1"
    travel.at += timedelta(seconds=1)
    assert await renewals.run() == 1
    found = await travel.subscription()
    assert (found.plan, found.period_end) == (travel.catalogue.default.code, None)
    assert await travel.told("subscription.changed") == 2
    assert await renewals.run() == 0


async def test_a_deleted_team_is_not_asked_for_money(travel: Travel) -> None:
    owed = await owing(travel)
    handler = TenantHandler(travel.subscriptions)
    gone = TenantDeleted(
        tenant_id=travel.tenant,
        slug="ada",
        name="Ada",
        owner_id=uuid4(),
        owner_email="ada@stowage.example",
        timezone="UTC",
        locale="en",
    )
    record = Record("tenants.v1", travel.tenant, 9, gone.type, b"", {}, None, event=gone)
    for _ in range(2):
        async with travel.database.transaction() as connection:
            await handler.apply(connection, [record])
    found = await travel.subscription()
    assert (found.plan, found.period_end) == (travel.catalogue.default.code, None)
    assert (await travel.invoices.get(travel.tenant, owed)).status == "void"
    travel.at += 400 * DAY
    assert await travel.renewals.run() == 0
    assert await travel.told("subscription.changed") == 2


async def test_less_at_once_begins_a_new_period_and_the_rest_is_credit(travel: Travel) -> None:
    """Half of a month of Tier 4 (12.00) is left: Tier 2 (3.50) is paid, and 2.50 are credits."""
    travel.at = datetime(2026, 4, 1, tzinfo=UTC)
    await travel.buy("tier4")
    travel.at += 15 * DAY
    found = await travel.changes.choose(travel.tenant, Wanted("tier2", at_once=True))
    assert (found.plan, found.price, found.period_start, found.status) == ("tier2", 350, travel.at, "active")
    assert found.period_end == datetime(2026, 5, 16, tzinfo=UTC)
    worth = credits_for(Money(250, "EUR"), load_credits().packs)
    assert await rows(travel, _GRANTS) == [("refund", worth, worth)]
    lines = (await rows(travel, _LINES))[1:]
    assert [line[:2] for line in lines] == [("Stowage Tier 2", 350), ("Unused time", -600), (f"{worth} credits", 250)]
    assert sum(taxed for _, _, taxed in lines) == 0
    assert [taxed for _, _, taxed in lines] == [56, -96, 40]
    travel.at = found.period_end
    await travel.renewals.run()
    assert (await travel.invoices.get(travel.tenant, (await travel.subscription()).invoice_id)).gross == 350  # type: ignore[arg-type]


async def test_less_at_once_costs_what_is_left_does_not_cover(travel: Travel) -> None:
    await travel.buy("tier2")
    travel.at = ((await travel.subscription()).period_end or travel.at) - DAY
    with pytest.raises(PaymentRequired) as refused:
        await travel.changes.choose(travel.tenant, Wanted("tier1", at_once=True))
    assert refused.value.extras["price"] == (await travel.offer("tier1")).money.text
    await travel.buy("tier1")
    assert (await travel.subscription()).plan == "tier1"


async def test_what_cannot_become_credits_is_not_lost(travel: Travel, monkeypatch: pytest.MonkeyPatch) -> None:
    await travel.buy("tier4")
    monkeypatch.setattr("services.billing.credits.packs.credits_for", lambda _money, _packs: None)
    with pytest.raises(RestNotCreditable):
        await travel.changes.choose(travel.tenant, Wanted("tier1", at_once=True))
    assert (await travel.subscription()).plan == "tier4"


async def test_cancelled_at_once_the_rest_is_credit(travel: Travel) -> None:
    travel.at = datetime(2026, 4, 1, tzinfo=UTC)
    await travel.buy("tier4")
    travel.at += 15 * DAY
    await travel.changes.choose(travel.tenant, Wanted(travel.catalogue.default.code, at_once=True))
    worth = credits_for(Money(600, "EUR"), load_credits().packs)
    assert await rows(travel, _GRANTS) == [("refund", worth, worth)]


async def test_credits_on_an_invoice_are_in_the_buyer_s_language(travel: Travel) -> None:
    """Those that late money became, and those that were left over."""
    async with travel.database.transaction() as connection:
        await details.put(connection, travel.tenant, Buyer(name="Ada", country="DE", language="de"), travel.at, None)
    travel.at = datetime(2026, 4, 1, tzinfo=UTC)
    late = await travel.start(await travel.offer("tier4"))
    await travel.settle(late, "cancelled")
    await travel.settle(late)
    await travel.buy("tier4")
    travel.at += 15 * DAY
    await travel.changes.choose(travel.tenant, Wanted(travel.catalogue.default.code, at_once=True))
    worth = [credits_for(Money(amount, "EUR"), load_credits().packs) for amount in (1200, 600)]
    said = [text for text, _, _ in await rows(travel, _LINES) if text.startswith("Guthaben")]
    assert said == [f"Guthabenpunkte: {number}" for number in worth]


async def test_days_on_an_invoice_are_the_team_s_and_follow_each_other(travel: Travel) -> None:
    """An evening in New York is a morning in UTC."""
    travel.at = datetime(2026, 3, 1, 2, tzinfo=UTC)
    await travel.move_to("America/New_York")
    await travel.buy("tier1")
    travel.at = (await travel.subscription()).period_end or travel.at
    await travel.renewals.run()
    days = "SELECT period_from::text, period_to::text FROM invoice_line WHERE tenant_id = $1 ORDER BY period_from"
    assert await rows(travel, days) == [("2026-02-28", "2026-03-27"), ("2026-03-28", "2026-04-27")]
