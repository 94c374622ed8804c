"""What was given back of the price of a period is not taken off the next one a second time."""

import contextlib
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.credits.catalogue import load_credits
from services.billing.credits.packs import credits_for
from services.billing.errors import NothingToPay, PaymentRequired, ProviderUnavailable, RefundRefused, RefundUnderWay
from services.billing.invoices.paying import purchase_of
from services.billing.payments.provider import ProviderRefused, ProviderSilent
from services.billing.subscriptions.changes import Wanted
from services.billing.subscriptions.rules import Part, carried, unused
from shared.money import Money
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.subscriptions.test_time_travel import DAY, Travel, travelling

_GRANTS = "SELECT amount FROM credit_grant WHERE tenant_id = $1"
_PARTS = "SELECT amount, refunded FROM period_payment WHERE tenant_id = $1 ORDER BY amount"


@pytest.fixture
async def travel(billing_db: ServiceDatabase) -> AsyncIterator[Travel]:
    async with travelling(billing_db, packs=True) as found:
        found.at = datetime(2026, 4, 1, tzinfo=UTC)
        yield found
        await found.balance()


async def rows(travel: Travel, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await query(travel.dsn.superuser, sql, *(values or (travel.tenant,)))]


async def bought(travel: Travel, code: str) -> UUID:
    return await travel.pay(await travel.offer(code))


async def half_of_tier2(travel: Travel) -> UUID:
    """3.50 were paid, and half of the month is left: 1.75."""
    payment = await bought(travel, "tier2")
    travel.at += 15 * DAY
    return payment


async def price(travel: Travel, code: str) -> int:
    return (await travel.offer(code)).money.amount


@pytest.mark.parametrize(
    ("back", "costs"), [("0.50", 1200 - 125), ("1.75", 1200), ("2.00", 1200), (None, 1200), ("0.00", 1200 - 175)]
)
async def test_more_after_a_refund(travel: Travel, back: str | None, costs: int) -> None:
    payment = await half_of_tier2(travel)
    if back != "0.00":
        await travel.give_back(payment, back)
    assert await price(travel, "tier4") == costs
    await bought(travel, "tier4")
    assert (await travel.subscription()).plan == "tier4"


async def test_less_at_once_after_a_refund(travel: Travel) -> None:
    """6.00 of Tier 4 are left, of which 4.00 were given back: 2.00 become Tier 1 or credits."""
    payment = await bought(travel, "tier4")
    travel.at += 15 * DAY
    await travel.give_back(payment, "4.00")
    with pytest.raises(PaymentRequired):
        await travel.changes.choose(travel.tenant, Wanted("tier2", at_once=True))
    await travel.changes.choose(travel.tenant, Wanted(travel.catalogue.default.code, at_once=True))
    assert await rows(travel, _GRANTS) == [(credits_for(Money(200, "EUR"), load_credits().packs),)]


async def test_a_period_that_an_invoice_paid(travel: Travel) -> None:
    """The refund of the first month's payment is none of the second month's."""
    first = await half_of_tier2(travel)
    travel.at = (await travel.subscription()).period_end or travel.at
    await travel.renewals.run()
    owed = (await travel.subscription()).invoice_id
    assert owed is not None
    assert await rows(travel, _PARTS) == [], "not paid yet"
    second = await travel.pay(purchase_of(await travel.invoices.get(travel.tenant, owed)))
    await travel.give_back(first)
    assert await price(travel, "tier4") == 1200 - 350
    await travel.give_back(second, "1.50")
    assert await price(travel, "tier4") == 1200 - 200


async def test_clocks_do_not_decide_what_paid_for_a_period(travel: Travel) -> None:
    payment = await half_of_tier2(travel)
    await query(travel.dsn.superuser, "UPDATE payment SET completed_at = completed_at - interval '9 days'")
    await travel.give_back(payment)
    assert await price(travel, "tier4") == 1200


async def test_money_that_went_over_to_the_next_period(travel: Travel) -> None:
    """1.75 of the first payment are in the second period: its refund takes off that much, and no more."""
    first = await half_of_tier2(travel)
    await travel.give_back(first, "0.50")
    await bought(travel, "tier3")
    assert await rows(travel, _PARTS) == [(125, 50), (750 - 125, 0)]
    whole = 1200 - 750
    assert await price(travel, "tier4") == whole
    await travel.give_back(first, "1.00")
    assert await price(travel, "tier4") == whole + 100
    await travel.give_back(first)
    assert await price(travel, "tier4") == whole + 125
    await bought(travel, "tier4")
    assert await rows(travel, _PARTS) == [(1200 - 625, 0), (625, 0)], "nothing of the first one is left"


async def test_late_money_that_became_credits_takes_nothing_off(travel: Travel) -> None:
    """It was never the period's, and stays the team's."""
    await half_of_tier2(travel)
    travel.at = (await travel.subscription()).period_end or travel.at
    await travel.renewals.run()
    owed = (await travel.subscription()).invoice_id
    assert owed is not None
    payment = await travel.start(purchase_of(await travel.invoices.get(travel.tenant, owed)))
    await travel.invoices.give_credit(travel.tenant, owed, [(1, "1.00")], "our fault")
    await travel.settle(payment)
    assert await rows(travel, "SELECT refunded FROM payment WHERE id = $1", payment.id) == [(100,)]
    assert await price(travel, "tier4") == 1200 - 350
    await travel.give_back(payment.id, "0.50")
    assert await price(travel, "tier4") == 1200 - 300


async def test_refunded_after_the_offer_it_buys_credits(travel: Travel) -> None:
    """1.75 were to be taken off, and were given back before the money came."""
    first = await half_of_tier2(travel)
    cheap = await travel.start(await travel.offer("tier4"))
    await travel.give_back(first, "0.01")
    await travel.settle(cheap)
    assert (await travel.subscription()).plan == "tier2"
    assert await rows(travel, _GRANTS) == [(credits_for(cheap.money, load_credits().packs),)]


async def test_while_nobody_knows_whether_it_went_back(travel: Travel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way it ends, what is left is not lost and not there twice."""
    first = await half_of_tier2(travel)
    cheap = await travel.start(await travel.offer("tier4"))

    async def silent(_self: Travel, _returning: object) -> str:
        raise ProviderSilent("the line went dead")

    async def refuse(_self: Travel, _returning: object) -> str:
        raise ProviderRefused("no")

    monkeypatch.setattr(Travel, "refund", silent)
    with pytest.raises(ProviderUnavailable):
        await travel.refunds.refund(first, None, "c1", "asked for", "admin")
    with pytest.raises(RefundUnderWay):
        await travel.offer("tier4")
    with pytest.raises(RefundUnderWay):
        await travel.changes.choose(travel.tenant, Wanted(travel.catalogue.default.code, at_once=True))
    await travel.changes.choose(travel.tenant, Wanted(travel.catalogue.default.code))
    await travel.changes.choose(travel.tenant, Wanted(None))
    await travel.settle(cheap)
    assert (await travel.subscription()).plan == "tier2", "its price was of another time"
    monkeypatch.setattr(Travel, "refund", refuse)
    with pytest.raises(RefundRefused):
        await travel.refunds.refund(first, None, "c1", "asked for", "admin")
    assert await price(travel, "tier4") == 1200 - 175


@pytest.mark.parametrize("seed", range(8))
async def test_anything_refunded_and_gone_over_from(travel: Travel, seed: int) -> None:  # noqa: C901 - a table of what can happen
    """Whatever is bought, given back and gone over from: the books agree; and what a period is worth to the team is its
    time to come, less all that was given back since it began of the payment that bought it (and of others at most as
    much as they brought along).
    """
    chance = random.Random(seed)
    codes = [code for code, plan in travel.catalogue.plans.items() if plan.prices]
    everything, own, others = list[UUID](), dict[UUID, int](), 0
    for _ in range(60):
        match chance.choice(["buy", "buy", "now", "back", "back", "renew", "wait"]):
            case "buy":
                with contextlib.suppress(NothingToPay):
                    payment = await bought(travel, chance.choice(codes))
                    everything.append(payment)
                    own, others = {payment: 0}, 0
            case "now":
                with contextlib.suppress(PaymentRequired):
                    held = await travel.subscription()
                    found = await travel.changes.choose(travel.tenant, Wanted(chance.choice(codes), at_once=True))
                    if (found.plan, found.interval) != (held.plan, held.interval):
                        own, others = {}, 0
            case "back" if everything:
                payment = chance.choice(everything[-3:])
                left = "SELECT amount - refunded FROM payment WHERE id = $1"
                ((amount,),) = await rows(travel, left, payment)
                if amount:
                    part = chance.randint(1, amount)
                    await travel.give_back(payment, Money(part, "EUR").text)
                    own, others = {p: back + part * (p == payment) for p, back in own.items()}, others + part
            case "renew":
                travel.at = (await travel.subscription()).period_end or travel.at
                if await travel.renewals.run() and (owed := (await travel.subscription()).invoice_id):
                    payment = await travel.pay(purchase_of(await travel.invoices.get(travel.tenant, owed)))
                    everything.append(payment)
                    own, others = {payment: 0}, 0
            case "wait":
                travel.at += timedelta(seconds=chance.randrange(1, 10 * 86_400))
                if (await travel.subscription()).period_end is not None:
                    await travel.renewals.run()
                    own, others = (own, others) if (await travel.subscription()).status == "active" else ({}, 0)
        await travel.balance()
        held = await travel.subscription()
        worth = held.left(travel.at)
        if worth is None or held.price is None or held.period_start is None or held.period_end is None:
            continue
        ahead = unused(held.price, held.period_start, held.period_end, travel.at)
        assert max(0, ahead - others) <= worth.amount <= max(0, ahead - sum(own.values())), seed


amounts = st.integers(0, 10**6)


@given(st.lists(st.tuples(amounts, amounts, amounts), max_size=6), amounts, st.data())
def test_what_goes_over_is_somebody_s_to_the_cent(
    told: list[tuple[int, int, int]], gift: int, data: st.DataObject
) -> None:
    parts = [Part(uuid4(), amount + 1, before, before + since) for amount, before, since in told]
    whole = sum(part.left for part in parts) + gift
    amount = data.draw(st.integers(0, whole))
    found = carried(parts, sum(part.amount for part in parts) + gift, amount)
    by = {part.payment: part for part in parts}
    assert all(0 < part.amount <= by[part.payment].left for part in found)
    assert all(part.refunded == by[part.payment].back for part in found)
    over = sum(part.amount for part in found)
    assert over <= amount <= over + gift, "what nobody paid for goes over, too"
