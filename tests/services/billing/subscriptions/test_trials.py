"""A plan is tried before it is paid for: once, until the clock ends it or somebody pays."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.billing.catalogue.loader import DEFAULT, CatalogueError, load
from services.billing.subscriptions.changes import Wanted
from services.billing.subscriptions.trials import TrialService
from shared.events import SubscriptionChanged
from shared.security import Principal
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.catalogue.family import family, put
from tests.services.billing.subscriptions.test_time_travel import DAY, Travel, travelling
from tests.services.billing.world import Team, World, running

SOLD = "48c74923c353ac7dfd6dc7a51c95cbe07c1313aa6171b0763edb089c2c243064"  # Pro, version 1
TRIAL = put("name: Pro", "name: Pro\ntrial_days: 14")


@pytest.fixture
async def world(billing_db: ServiceDatabase, tmp_path: Path) -> AsyncIterator[World]:
    """Pro may be tried for 14 days."""
    async with running(billing_db, plan_catalogue=str(family(tmp_path, TRIAL))) as started:
        yield started


@pytest.fixture
async def travel(billing_db: ServiceDatabase) -> AsyncIterator[Travel]:
    """Tier 1 may."""
    async with travelling(billing_db) as found:
        found.catalogue.plans["tier1"] = found.catalogue.plans["tier1"].model_copy(update={"trial_days": 14})
        yield found


async def begin(world: World, team: Team, plan: str = "pro", **more: Any) -> tuple[int, Any]:
    return await world.call("POST", "/api/subscription/trial", {"plan": plan, **more}, who=team.principal)


async def offered(world: World, team: Team) -> dict[str, Any]:
    _, body = await world.call("GET", "/api/plans", who=team.principal)
    return {plan["code"]: plan for plan in body["items"]}


async def begun(travel: Travel) -> datetime:
    """When it ends."""
    found = await TrialService(travel.database, travel.catalogue, travel.subscriptions, travel, lambda: None).begin(
        travel.tenant, "tier1"
    )
    assert (found.status, found.plan, found.price) == ("trialing", "tier1", None)
    assert found.period_end == travel.at + 14 * DAY
    return found.period_end


async def test_the_plan_at_once_and_nothing_to_pay(world: World) -> None:
    team = Team()
    plans = await offered(world, team)
    assert [(plans[code]["trial_days"], plans[code]["may_try"]) for code in ("free", "pro")] == [(0, False), (14, True)]
    status, body = await begin(world, team)
    assert (status, body["plan"], body["status"], body["version"]) == (200, "pro", "trialing", 2)
    assert body["entitlements"]["storage_bytes"] == 10 * 2**30
    seen = await world.subscription(team)
    assert (seen["plan"], seen["status"], seen["price"], seen["current_period_end"]) == (
        *("pro", "trialing", None, body["ends_at"]),
    )
    length = datetime.fromisoformat(body["ends_at"]) - datetime.fromisoformat(seen["current_period_start"])
    assert length == timedelta(days=14)
    assert await world.events(team) == ["subscription.changed", "entitlements.changed", "entitlements.changed"]
    plans = await offered(world, team)
    assert (plans["pro"]["current"], plans["pro"]["may_try"]) == (True, False)
    assert (plans["pro"]["change"]["kind"], plans["pro"]["change"]["due_now"]) == ("upgrade", "3.00")
    assert (plans["free"]["change"]["kind"], plans["free"]["change"]["effective_at"]) == ("downgrade", body["ends_at"])


async def test_events_say_that_it_is_a_trial_and_until_when(travel: Travel) -> None:
    ends = await begun(travel)
    travel.at = ends
    assert await travel.renewals.run() == 1
    await travel.buy("tier1")
    sql = "SELECT body FROM outbox_event WHERE type = 'subscription.changed' ORDER BY seq"
    told = [SubscriptionChanged.parse(row["body"]) for row in await query(travel.dsn.superuser, sql)]
    assert [(event.trial, event.trial_ends_at) for event in told] == [(True, ends), (False, None), (False, None)]


async def test_once_a_team_and_plan(world: World) -> None:
    team = Team()
    await begin(world, team)
    await world.call("POST", "/api/subscription/cancel", {"when": "now"}, who=team.principal)
    assert (await world.subscription(team))["plan"] == "free"
    status, body = await begin(world, team)
    assert (status, body["code"]) == (409, "trial_used")
    assert not (await offered(world, team))["pro"]["may_try"]
    assert (await begin(world, Team(slug="bob")))[0] == 200, "another team's trial is its own"


async def test_of_64_at_once_one_begins(world: World) -> None:
    team = Team()
    answers = await asyncio.gather(*[begin(world, team) for _ in range(64)])
    assert sorted(status for status, _ in answers) == [200, *[409] * 63]
    assert (await world.events(team)).count("subscription.changed") == 1
    assert (await world.subscription(team))["version"] == 2


async def test_who_may_try_what(world: World) -> None:
    team = Team()
    member = Team(tenant=team.tenant, role="member")
    assert (await begin(world, member))[1]["code"] == "manager_required"
    for plan, code in (("free", "trial_not_offered"), ("gold", "plan_not_found")):
        assert (await begin(world, team, plan))[1]["code"] == code
    assert (await begin(world, team, version=7))[1]["code"] == "subscription_changed"
    payment = await world.started(team)
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    assert (await begin(world, team))[1]["code"] == "trial_not_now"
    assert not (await offered(world, team))["pro"]["may_try"]
    _, body = await world.call("GET", "/api/plans", who=Principal())
    assert [(plan["trial_days"], plan["may_try"]) for plan in body["items"]] == [(0, None), (14, None)]


async def test_who_pays_during_a_trial_begins_a_period(world: World) -> None:
    """There is nothing to take off, and credits are as they were."""
    team = Team()
    await begin(world, team)
    add = {"tenant_id": str(team.tenant), "amount": 5, "source": "system_bonus", "description": "x", "client_id": "1"}
    admin = Principal(kind="user", user_id=team.tenant, is_admin=True)
    await query(
        world.dsn.superuser, "INSERT INTO credit_account (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING", team.tenant
    )
    assert (await world.call("POST", "/api/admin/credits/grants", add, who=admin))[0] == 201
    status, body = await world.call("POST", "/api/subscription/change", {"plan": "pro"}, who=team.principal)
    assert (status, body["code"], body["price"]) == (402, "payment_required", "3.00")
    payment = await world.started(team)
    assert payment["amount"] == "3.00"
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    seen = await world.subscription(team)
    assert (seen["plan"], seen["status"], seen["price"], seen["next"]) == ("pro", "active", "3.00", None)
    length = datetime.fromisoformat(seen["current_period_end"]) - datetime.fromisoformat(seen["current_period_start"])
    assert length >= timedelta(days=28), "a month from now, not what was left of the trial"
    _, body = await world.call("GET", "/api/invoices", who=team.principal)
    assert [(invoice["gross"], invoice["status"]) for invoice in body["items"]] == [("3.00", "paid")]
    _, body = await world.call("GET", "/api/credits", who=team.principal)
    assert body["balance"] == 5


async def test_the_clock_ends_it(travel: Travel) -> None:
    end = await begun(travel)
    travel.at = end - timedelta(seconds=1)
    assert await travel.renewals.run() == 0
    assert (await travel.subscription()).plan == "tier1"
    travel.at = end
    assert await travel.renewals.run() == 1
    assert await travel.renewals.run() == 0, "a second time changes nothing"
    found = await travel.subscription()
    assert (found.plan, found.status, found.period_end, found.version) == ("basic", "active", None, 3)
    assert await travel.told("subscription.changed") == 2
    assert await travel.told("invoice.issued") == 0


async def test_a_worker_that_slept_for_months_ends_it_once(travel: Travel) -> None:
    await begun(travel)
    travel.at += 400 * DAY
    steps = [await travel.renewals.run() for _ in range(3)]
    assert steps == [1, 0, 0]
    assert ((await travel.subscription()).plan, await travel.told("invoice.due")) == ("basic", 0)


async def test_who_pays_is_not_put_back_by_the_clock(travel: Travel) -> None:
    end = await begun(travel)
    travel.at += 10 * DAY
    await travel.buy("tier1")
    found = await travel.subscription()
    assert (found.status, found.price, found.period_start) == ("active", 200, travel.at)
    travel.at = end
    assert await travel.renewals.run() == 0
    assert (await travel.subscription()).plan == "tier1"
    books = await travel.books()
    assert books["received"] == books["paid"] == 200


async def test_paid_after_it_was_over(travel: Travel) -> None:
    """What was begun to be paid during the trial buys the plan all the same."""
    await begun(travel)
    offer = await travel.offer("tier1")
    travel.at += 20 * DAY
    await travel.renewals.run()
    await travel.pay(offer)
    found = await travel.subscription()
    assert (found.plan, found.status, found.price) == ("tier1", "active", 200)


@pytest.mark.parametrize("again", [False, True])
async def test_cancelled_during_a_trial_it_goes_on_to_its_end(travel: Travel, *, again: bool) -> None:
    end = await begun(travel)
    chosen = await travel.changes.choose(travel.tenant, Wanted("basic"))
    assert (chosen.plan, chosen.next_plan) == ("tier1", "basic")
    if again:
        assert (await travel.changes.choose(travel.tenant, Wanted(None))).next_plan is None
    travel.at = end
    assert await travel.renewals.run() == 1
    found = await travel.subscription()
    assert (found.plan, found.status, found.next_plan) == ("basic", "active", None)


def test_a_plan_without_a_trial_is_what_it_was(tmp_path: Path) -> None:
    """Its version's digest is in databases."""
    said = load(family(tmp_path, TRIAL)).plans["pro"]
    plain = load(DEFAULT).plans["pro"]
    assert plain.digest == SOLD, "from before there were trials"
    assert (said.trial_days, plain.trial_days) == (14, 0)
    assert said.digest != plain.digest
    assert said.model_copy(update={"trial_days": 0}).digest == plain.digest


@pytest.mark.parametrize(
    ("name", "said", "wrong"),
    [
        ("pro", "trial_days: -1", "trial_days: Input should be greater than or equal to 0"),
        ("pro", "trial_days: a week", "trial_days: Input should be a valid integer"),
        ("free", "trial_days: 14", "trial_days: a plan without prices is free, and needs no trial"),
    ],
)
def test_what_is_no_trial(tmp_path: Path, name: str, said: str, wrong: str) -> None:
    title = name.title()
    folder = family(tmp_path, put(f"name: {title}", f"name: {title}\n{said}"), name)
    with pytest.raises(CatalogueError, match=rf"{name}\.yaml:\d+:\d+: {wrong}"):
        load(folder)
