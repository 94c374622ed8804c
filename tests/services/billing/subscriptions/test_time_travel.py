"""Years by the clock: renewals, what is not paid, what is chosen on the way; and the books agree at the end."""

import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.billing.catalogue.loader import find_family, load
from services.billing.catalogue.plan import Interval
from services.billing.credits.catalogue import load_credits
from services.billing.credits.packs import LateMoney, PackFulfilment
from services.billing.errors import NothingToPay
from services.billing.invoices import tax
from services.billing.invoices.bill import PaymentBills
from services.billing.invoices.paying import InvoiceFulfilment, purchase_of
from services.billing.invoices.service import InvoiceService
from services.billing.payments import repository as payments
from services.billing.payments.fulfilment import Fulfilment, Purchase
from services.billing.payments.repository import Payment
from services.billing.payments.rules import Claim
from services.billing.payments.settlement import Settlement
from services.billing.plans import repository as plans
from services.billing.subscriptions.changes import ChangeService, Wanted
from services.billing.subscriptions.fulfilment import PlanFulfilment
from services.billing.subscriptions.purchase import plan_purchase
from services.billing.subscriptions.renewals import Renewals
from services.billing.subscriptions.repository import Subscription
from services.billing.subscriptions.service import SubscriptionService
from shared.db import Database
from shared.events import PaymentPurpose, SubscriptionChanged
from shared.ids import new_id
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.world import SELLER

DAY = timedelta(days=1)
_BOOKS = """
    SELECT coalesce(sum(gross) FILTER (WHERE status = 'paid'), 0)::bigint AS paid,
        coalesce(sum(gross) FILTER (WHERE status = 'open'), 0)::bigint AS open,
        coalesce(sum(gross) FILTER (WHERE status = 'void'), 0)::bigint AS void,
        (SELECT coalesce(sum(amount), 0)::bigint FROM payment WHERE tenant_id = $1 AND status = 'completed') AS received
    FROM invoice WHERE tenant_id = $1
"""


@dataclass
class Travel:
    """Billing, and the clock it goes by."""

    dsn: ServiceDatabase
    database: Database
    at: datetime = datetime(2026, 1, 31, 9, tzinfo=UTC)
    tenant: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        database, wake = self.database, lambda: None
        self.catalogue = load(find_family("tiers"), "EUR")
        self.subscriptions = SubscriptionService(database, self.catalogue, self, wake)
        packs = PackFulfilment(self)
        late = LateMoney(load_credits(), packs, self)
        self.invoices = InvoiceService(database, tax.load(), SELLER, "{number}", 14 * DAY, self)
        self.fulfilments: dict[PaymentPurpose, Fulfilment] = {
            "plan": PlanFulfilment(self.subscriptions, late),
            "invoice": InvoiceFulfilment(self.invoices, late),
        }
        self.settlement = Settlement(self.fulfilments, late, self, PaymentBills(self.invoices, self.fulfilments))
        self.changes = ChangeService(database, self.catalogue, self.subscriptions, self, wake)
        self.renewals = Renewals(database, self.catalogue, self.subscriptions, self.invoices, self, wake)

    def now(self) -> datetime:
        return self.at

    async def subscription(self) -> Subscription:
        return await self.subscriptions.get(self.tenant)

    async def offer(self, code: str, interval: Interval = "month") -> Purchase:
        plan = self.catalogue.plans[code]
        price = plan.price_in("EUR", interval)
        assert price is not None
        return plan_purchase(plan, price, await self.subscription(), self.at)

    async def buy(self, code: str, interval: Interval = "month") -> None:
        await self.pay(await self.offer(code, interval))

    async def pay_open(self) -> bool:
        found = await self.subscription()
        if found.invoice_id is None:
            return False
        await self.pay(purchase_of(await self.invoices.get(self.tenant, found.invoice_id)))
        return True

    async def pay(self, purchase: Purchase) -> UUID:
        payment = self._draft(purchase)
        async with self.database.transaction() as connection:
            assert await payments.insert(connection, payment)
            claim = Claim(str(payment.id), f"ext-{payment.id}", "completed", payment.money)
            assert (await self.settlement.settle(connection, claim, "callback")).verdict == "accepted"
        return payment.id

    def _draft(self, purchase: Purchase) -> Payment:
        return Payment(
            id=new_id(),
            tenant_id=self.tenant,
            team="ada",
            external_id=None,
            amount=purchase.money.amount,
            currency=purchase.money.currency,
            method="credit_card",
            status="pending",
            provider="external",
            purpose=purchase.purpose,
            subject=purchase.subject,
            plan=purchase.plan,
            plan_version=purchase.plan_version,
            return_url="/app",
            metadata=purchase.metadata,
            payment_url=None,
            qr_code=None,
            transaction_id=None,
            created_at=self.at,
            completed_at=None,
            next_check_at=self.at,
            checks=0,
        )

    async def books(self) -> dict[str, Any]:
        return dict((await query(self.dsn.superuser, _BOOKS, self.tenant))[0])

    async def told(self, kind: str) -> int:
        sql = "SELECT count(*) AS n FROM outbox_event WHERE tenant_id = $1 AND type = $2"
        return int((await query(self.dsn.superuser, sql, self.tenant, kind))[0]["n"])


@asynccontextmanager
async def travelling(dsn: ServiceDatabase) -> AsyncIterator[Travel]:
    async with Database(dsn.worker, pool_size=4, application_name="travel") as database:
        found = Travel(dsn, database)
        async with database.transaction() as connection:
            await plans.register(connection, found.catalogue)
        yield found


@pytest.fixture
async def travel(billing_db: ServiceDatabase) -> AsyncIterator[Travel]:
    async with travelling(billing_db) as found:
        yield found


async def test_a_31st_over_three_years_and_a_leap_day(travel: Travel) -> None:
    await travel.buy("tier1")
    starts = [travel.at]
    for _ in range(36):
        found = await travel.subscription()
        assert found.period_end is not None
        travel.at = found.period_end - timedelta(seconds=1)
        assert await travel.renewals.run() == 0, "not a second early"
        travel.at = found.period_end + timedelta(hours=3)
        assert await travel.renewals.run() > 0
        assert await travel.renewals.run() == 0, "a second time changes nothing"
        assert (await travel.subscription()).status == "past_due"
        assert await travel.pay_open()
        found = await travel.subscription()
        assert (found.status, found.plan) == ("active", "tier1")
        assert found.period_start is not None
        starts.append(found.period_start)
    assert starts[-1] == datetime(2029, 1, 31, 9, tzinfo=UTC)
    assert {start.day for start in starts} == {28, 29, 30, 31}
    books = await travel.books()
    assert books["received"] == books["paid"] == 37 * 200
    assert (books["open"], books["void"]) == (0, 0)


async def test_what_is_not_paid_is_asked_for_and_ends(travel: Travel) -> None:
    await travel.buy("tier2")
    travel.at = (await travel.subscription()).period_end or travel.at
    told = []
    for _ in range(16):
        await travel.renewals.run()
        told.append(await travel.told("invoice.due"))
        travel.at += DAY
    assert told[:14] == [1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4]
    found = await travel.subscription()
    assert (found.plan, found.status, found.period_end, found.invoice_id) == (
        travel.catalogue.default.code,
        "active",
        None,
        None,
    )
    books = await travel.books()
    assert (books["open"], books["void"]) == (0, books["received"])
    assert await travel.renewals.run() == 0
    sql = "SELECT body FROM outbox_event WHERE type = 'subscription.changed' ORDER BY seq DESC LIMIT 1"
    fallen = SubscriptionChanged.parse((await query(travel.dsn.superuser, sql))[0]["body"])
    assert (fallen.previous_plan, fallen.plan, fallen.unpaid) == ("tier2", found.plan, True)
    assert (fallen.lower.storage, fallen.lower.traffic) == (
        found.entitlements.storage_bytes,
        found.entitlements.traffic_bytes_month,
    )


async def test_a_worker_that_slept_for_half_a_year_asks_for_one_period_at_a_time(travel: Travel) -> None:
    await travel.buy("tier1")
    travel.at += 183 * DAY
    periods = []
    for _ in range(10):
        await travel.renewals.run()
        found = await travel.subscription()
        periods.append(found.period_start)
        if not await travel.pay_open():
            break
    assert len(periods) - 1 == 6, "the months between, each invoiced once, and none that has not begun"
    assert (await travel.subscription()).period_end > travel.at  # type: ignore[operator]
    books = await travel.books()
    assert books["received"] == books["paid"]
    assert await travel.told("invoice.due") == 6


async def test_less_comes_at_the_end_of_what_was_paid(travel: Travel) -> None:
    await travel.buy("tier3", "year")
    chosen = await travel.changes.choose(travel.tenant, Wanted("tier1", interval="month"))
    assert (chosen.plan, chosen.next_plan, chosen.next_interval) == ("tier3", "tier1", "month")
    travel.at = (chosen.period_end or travel.at) + DAY
    await travel.renewals.run()
    found = await travel.subscription()
    assert (found.plan, found.status, found.period_start) == ("tier1", "past_due", chosen.period_end)
    assert found.entitlements.storage_bytes == 10 * 2**30
    await travel.pay_open()
    assert (await travel.subscription()).status == "active"
    assert (await travel.books())["open"] == 0


async def test_more_costs_what_is_left_less(travel: Travel) -> None:
    """Half of a month of Tier 2 (3.50) is left: Tier 4 (12.00) is 10.25, and the invoice says why."""
    travel.at = datetime(2026, 4, 1, tzinfo=UTC)
    await travel.buy("tier2")
    travel.at += 15 * DAY
    await travel.buy("tier4")
    found = await travel.subscription()
    assert (found.plan, found.price, found.period_start) == ("tier4", 1200, travel.at)
    sql = "SELECT l.quantity * l.unit_price AS price, l.net + l.tax AS gross FROM invoice_line AS l JOIN invoice AS i "
    rows = await query(travel.dsn.superuser, f"{sql} ON i.id = l.invoice_id ORDER BY i.sequence, l.position")
    assert [tuple(row) for row in rows] == [(350, 350), (1200, 1200), (-175, -175)]
    assert (await travel.books())["received"] == 350 + 1025


async def test_what_was_taken_off_must_still_be_there(travel: Travel) -> None:
    """Half a month is taken off; the period ends before the money comes. It buys credits, not a plan too cheap."""
    await travel.buy("tier2")
    cheap = await travel.offer("tier4")
    assert cheap.money.amount < 1200
    travel.at += 40 * DAY
    await travel.renewals.run()
    await travel.pay(cheap)
    assert (await travel.subscription()).plan == "tier2"
    sql = "SELECT count(*) AS n FROM credit_grant WHERE tenant_id = $1 AND source = 'refund'"
    assert (await query(travel.dsn.superuser, sql, travel.tenant))[0]["n"] == 1


async def test_cancelled_and_thought_better_of(travel: Travel) -> None:
    await travel.buy("tier1")
    free = travel.catalogue.default.code
    assert (await travel.changes.choose(travel.tenant, Wanted(free))).next_plan == free
    assert (await travel.changes.choose(travel.tenant, Wanted(None))).next_plan is None
    chosen = await travel.changes.choose(travel.tenant, Wanted(free))
    travel.at = chosen.period_end or travel.at
    await travel.renewals.run()
    found = await travel.subscription()
    assert (found.plan, found.period_end, found.next_plan) == (free, None, None)
    assert await travel.told("invoice.due") == 0


async def test_paid_after_it_was_given_up_is_credit(travel: Travel) -> None:
    await travel.buy("tier1")
    travel.at = (await travel.subscription()).period_end or travel.at
    await travel.renewals.run()
    owed = (await travel.subscription()).invoice_id
    assert owed is not None
    purchase = purchase_of(await travel.invoices.get(travel.tenant, owed))
    travel.at += 15 * DAY
    await travel.renewals.run()
    await travel.pay(purchase)
    assert (await travel.subscription()).plan == travel.catalogue.default.code
    sql = "SELECT count(*) AS n FROM credit_grant WHERE tenant_id = $1 AND source = 'refund'"
    assert (await query(travel.dsn.superuser, sql, travel.tenant))[0]["n"] == 1


@pytest.mark.parametrize("seed", range(6))
async def test_three_years_of_anything(travel: Travel, seed: int) -> None:
    """Whatever is bought, left unpaid, chosen and cancelled: invoices are payments and what is open, always."""
    chance = random.Random(seed)
    codes = [code for code, plan in travel.catalogue.plans.items() if plan.prices]
    ends = travel.at + 3 * 365 * DAY
    while travel.at < ends:
        await travel.renewals.run()
        match chance.choice(["pay", "pay", "pay", "buy", "choose", "cancel", "resume", "wait"]):
            case "pay":
                await travel.pay_open()
            case "buy":
                with contextlib.suppress(NothingToPay):
                    await travel.buy(chance.choice(codes), chance.choice(["month", "year"]))
            case "choose" | "cancel" as what:
                held = await travel.subscription()
                code = travel.catalogue.default.code if what == "cancel" else "tier1"
                if held.plan != "tier1" and held.period_end is not None:
                    await travel.changes.choose(travel.tenant, Wanted(code))
            case "resume":
                await travel.changes.choose(travel.tenant, Wanted(None))
        books, found = await travel.books(), await travel.subscription()
        assert books["received"] == books["paid"], books
        assert (books["open"] > 0) == (found.status == "past_due"), (books, found)
        travel.at += timedelta(seconds=chance.randrange(1, 40 * 86_400))
    versions = await query(
        travel.dsn.superuser,
        "SELECT (body::jsonb ->> 'version')::int AS v FROM outbox_event WHERE tenant_id = $1 "
        "AND type = 'entitlements.changed' ORDER BY seq",
        travel.tenant,
    )
    numbers = [row["v"] for row in versions]
    assert numbers == sorted(set(numbers))
