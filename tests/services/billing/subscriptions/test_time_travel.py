"""Years by the clock: renewals, what is not paid, what is chosen on the way; and the books agree at the end."""

import asyncio
import calendar
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from services.billing.catalogue.loader import find_family, load
from services.billing.catalogue.plan import Interval
from services.billing.credits.catalogue import load_credits
from services.billing.credits.commands import Spend
from services.billing.credits.packs import LateMoney, PackFulfilment, register
from services.billing.credits.repository import commit_batch, set_timezone
from services.billing.errors import NothingToPay, PaymentRequired
from services.billing.invoices import tax
from services.billing.invoices.bill import PaymentBills
from services.billing.invoices.paying import InvoiceFulfilment, purchase_of
from services.billing.invoices.service import InvoiceService
from services.billing.payments import repository as payments
from services.billing.payments.fulfilment import Fulfilment, Purchase
from services.billing.payments.provider import Providers, Returning
from services.billing.payments.refund_rows import Refund
from services.billing.payments.refunds import RefundService
from services.billing.payments.repository import Payment
from services.billing.payments.rules import Claim, Status
from services.billing.payments.settlement import Settlement
from services.billing.plans import repository as plans
from services.billing.subscriptions.changes import ChangeService, Wanted
from services.billing.subscriptions.fulfilment import PlanFulfilment
from services.billing.subscriptions.purchase import plan_purchase
from services.billing.subscriptions.renewals import Renewals
from services.billing.subscriptions.repository import Subscription
from services.billing.subscriptions.rest import Rest
from services.billing.subscriptions.service import SubscriptionService
from shared.db import Database
from shared.events import PaymentPurpose, SubscriptionChanged
from shared.ids import new_id
from shared.money import Money
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.world import SELLER

DAY = timedelta(days=1)
MINUTE = 60.0  # seconds for three years
ZONES = {
    "Europe/Berlin": 2,
    "America/Santiago": 2,
    "Pacific/Apia": 1,
    "Australia/Lord_Howe": 2,
}  # offsets at month ends
_BOOKS = """
    SELECT coalesce(sum(gross) FILTER (WHERE status = 'paid'), 0)::bigint AS paid,
        coalesce(sum(gross) FILTER (WHERE status = 'open'), 0)::bigint AS open,
        coalesce(sum(gross) FILTER (WHERE status = 'void'), 0)::bigint AS void,
        (SELECT coalesce(sum(amount), 0)::bigint FROM payment WHERE tenant_id = $1 AND status = 'completed') AS received
    FROM invoice WHERE tenant_id = $1
"""


_BALANCE = """
    WITH invoices AS (
        SELECT i.gross, i.status, i.kind,
            coalesce((SELECT sum(c.gross) FROM invoice AS c WHERE c.refers_to = i.id), 0) AS credited
        FROM invoice AS i LEFT JOIN invoice AS r ON r.id = i.refers_to
        WHERE i.tenant_id = $1 AND 'void' NOT IN (i.status, coalesce(r.status, ''))
    ), payments AS (
        SELECT p.id, p.amount, p.owed, coalesce((
            SELECT sum(r.amount) FROM payment_refund AS r
            WHERE r.payment_id = p.id AND r.status = 'completed' AND r.client_id <> 'credit'
        ), 0) AS back
        FROM payment AS p WHERE p.tenant_id = $1 AND p.status = 'completed'
    )
    SELECT (SELECT coalesce(sum(gross), 0) FROM invoices WHERE kind = 'invoice')::bigint AS invoiced,
        (SELECT coalesce(sum(gross), 0) FROM invoices WHERE kind = 'credit_note')::bigint AS credited,
        (SELECT coalesce(sum(gross - credited), 0) FROM invoices WHERE status = 'open')::bigint AS open,
        (SELECT coalesce(sum(amount), 0) FROM payments)::bigint AS paid,
        (SELECT coalesce(sum(back), 0) FROM payments)::bigint AS back,
        (SELECT coalesce(sum(greatest(0, owed - back)), 0) FROM payments)::bigint AS due
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
        provider: Any = self  # as far as refunds need one
        self.catalogue = load(find_family("tiers"), "EUR")
        self.subscriptions = SubscriptionService(database, self.catalogue, self, wake)
        packs = PackFulfilment(self)
        late = LateMoney(load_credits(), packs, self)
        self.invoices = InvoiceService(database, tax.load(), SELLER, "{number}", 14 * DAY, self)
        self.fulfilments: dict[PaymentPurpose, Fulfilment] = {
            "plan": PlanFulfilment(self.subscriptions),
            "credits": packs,
            "invoice": InvoiceFulfilment(self.invoices),
        }
        bills = PaymentBills(self.invoices, self.fulfilments)
        self.settlement = Settlement(self.fulfilments, late, self, bills)
        self.changes = ChangeService(database, self.catalogue, self.subscriptions, Rest(late, bills), self, wake)
        self.refunds = RefundService(database, Providers([provider]), packs, bills, self, first=5, wake=wake)
        self.renewals = Renewals(database, self.catalogue, self.subscriptions, self.invoices, self, wake)

    def now(self) -> datetime:
        return self.at

    # The provider, which gives back what it is asked to.

    name = "external"

    async def refund(self, returning: Returning) -> str:
        return f"rfd_{returning.refund_id}"

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
        return await self.settle(await self.start(purchase))

    async def start(self, purchase: Purchase) -> Payment:
        payment = self._draft(purchase)
        async with self.database.transaction() as connection:
            assert await payments.insert(connection, payment)
        return payment

    async def settle(self, payment: Payment, status: Status = "completed") -> UUID:
        async with self.database.transaction() as connection:
            claim = Claim(str(payment.id), f"ext-{payment.id}", status, payment.money)
            assert (await self.settlement.settle(connection, claim, "callback")).verdict == "accepted"
        return payment.id

    async def give_back(self, payment: UUID, amount: str | None = None) -> Refund:
        return await self.refunds.refund(payment, amount, uuid4().hex, "asked for", "admin")

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

    async def give_some_back(self, chance: random.Random) -> None:
        """A part of any payment that has some left."""
        sql = "SELECT id, amount - refunded AS left FROM payment WHERE tenant_id = $1 AND refunded < amount ORDER BY id"
        found = await query(self.dsn.superuser, f"{sql}", self.tenant)
        if found:
            payment = chance.choice(found)
            await self.give_back(payment["id"], Money(chance.randint(1, payment["left"]), "EUR").text)

    async def move_to(self, zone: str) -> None:
        async with self.database.transaction() as connection:
            await set_timezone(connection, self.tenant, zone)

    async def spend(self, number: int) -> None:
        spent = Spend(uuid4().hex, "image", number, 1, "upload")
        async with self.database.transaction() as connection:
            await commit_batch(connection, self.tenant, [spent], self.at)

    async def balance(self) -> None:
        """What is invoiced is what was paid, kept and not waiting to be given back, and what is open. Always."""
        row = (await query(self.dsn.superuser, _BALANCE, self.tenant))[0]
        assert row["invoiced"] - row["credited"] == row["paid"] - row["back"] - row["due"] + row["open"], dict(row)

    async def books(self) -> dict[str, Any]:
        return dict((await query(self.dsn.superuser, _BOOKS, self.tenant))[0])

    async def told(self, kind: str) -> int:
        sql = "SELECT count(*) AS n FROM outbox_event WHERE tenant_id = $1 AND type = $2"
        return int((await query(self.dsn.superuser, sql, self.tenant, kind))[0]["n"])


@asynccontextmanager
async def travelling(dsn: ServiceDatabase, *, packs: bool = False) -> AsyncIterator[Travel]:
    """`packs`: credits are sold, too."""
    async with Database(dsn.worker, pool_size=4, application_name="travel") as database:
        found = Travel(dsn, database)
        async with database.transaction() as connection:
            await plans.register(connection, found.catalogue)
            if packs:
                await register(connection, load_credits())
        yield found


@pytest.fixture
async def travel(billing_db: ServiceDatabase) -> AsyncIterator[Travel]:
    async with travelling(billing_db) as found:
        yield found
        await found.balance()


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


@pytest.mark.parametrize("zone", ZONES)
async def test_three_years_where_clocks_are_changed(travel: Travel, zone: str) -> None:
    """The 31st at half past two at night, which is an hour that some days do not have, and some have twice."""
    begun, place = time.monotonic(), ZoneInfo(zone)
    await travel.move_to(zone)
    anchor = travel.at = datetime(2026, 1, 31, 2, 30, tzinfo=place).astimezone(UTC)
    await travel.buy("tier1")
    days = []
    for number in range(1, 37):
        found = await travel.subscription()
        assert found.period_end is not None
        travel.at = found.period_end
        assert await travel.renewals.run() > 0
        assert await travel.pay_open()
        local = travel.at.astimezone(place)
        year, month = divmod(2026 * 12 + number, 12)
        assert (local.year, local.month) == (year, month + 1), "each month begins once"
        assert local.day == calendar.monthrange(year, month + 1)[1], "the last day there, whatever UTC's is"
        assert local.time() in {clock(2, 30), clock(3, 30), clock(1, 30)}, (
            "the hour that was bought at, if there is one"
        )
        days.append(travel.at)
    offsets = {day.astimezone(place).utcoffset() for day in [anchor, *days]}
    assert len(offsets) == ZONES[zone], "clocks were changed on the way"
    books = await travel.books()
    assert books["received"] == books["paid"] == 37 * 200
    assert time.monotonic() - begun < MINUTE


@pytest.mark.parametrize("seed", range(6))
async def test_three_years_of_anything(travel: Travel, seed: int) -> None:  # noqa: C901 - a table of what can happen
    """Whatever is bought, left unpaid, chosen and cancelled: invoices are payments and what is open, always."""
    chance, begun = random.Random(seed), time.monotonic()
    await travel.move_to(list(ZONES)[seed % len(ZONES)])
    codes = [code for code, plan in travel.catalogue.plans.items() if plan.prices]
    ends = travel.at + 3 * 365 * DAY
    while travel.at < ends:
        await travel.renewals.run()
        match chance.choice([*["pay"] * 3, "buy", "choose", "now", "cancel", "resume", "late", "back", "note", "wait"]):
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
            case "now":
                with contextlib.suppress(PaymentRequired):
                    await travel.changes.choose(travel.tenant, Wanted(chance.choice(codes), at_once=True))
            case "late":
                with contextlib.suppress(NothingToPay):
                    given_up = await travel.start(await travel.offer(chance.choice(codes)))
                    await travel.settle(given_up, "cancelled")
                    await travel.settle(given_up)
            case "back":
                await travel.give_some_back(chance)
            case "note":
                owed = (await travel.subscription()).invoice_id
                if owed is not None:
                    await travel.invoices.give_credit(travel.tenant, owed, chance.choice([None, [(1, "0.50")]]), "ours")
            case "resume":
                await travel.changes.choose(travel.tenant, Wanted(None))
        books, found = await travel.books(), await travel.subscription()
        await travel.balance()
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
    assert time.monotonic() - begun < MINUTE


async def test_two_workers_at_once_come_to_the_same(travel: Travel) -> None:
    """Twenty teams whose period is over: one invoice each, whoever of both it was."""
    teams = []
    for _ in range(20):
        travel.tenant = uuid4()
        teams.append(travel.tenant)
        await travel.buy("tier1")
    travel.at = (await travel.subscription()).period_end or travel.at
    other = Renewals(travel.database, travel.catalogue, travel.subscriptions, travel.invoices, travel, lambda: None)
    taken = await asyncio.gather(*(renewals.run() for renewals in (travel.renewals, other) * 2))
    assert sum(taken) == 2 * len(teams), "each was renewed and told once"
    for travel.tenant in teams:
        assert (await travel.books())["open"] == 200
        assert await travel.told("invoice.due") == 1
        await travel.balance()
