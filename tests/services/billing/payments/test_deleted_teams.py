"""Money that comes when its team is gone: it buys nothing, it shows as owed, and a refund gives it back."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from services.billing.subscriptions.handlers import TenantHandler
from shared.events import TenantDeleted
from shared.kafka import Record
from shared.security import Principal
from tests.fixtures.postgres import query
from tests.services.billing.world import Team, World

ADMIN = Principal(kind="user", user_id=uuid4(), is_admin=True)
TEAMS = 12
_EFFECTS = """
    SELECT (SELECT count(*) FROM credit_grant WHERE tenant_id = $1)
        + (SELECT count(*) FROM invoice WHERE tenant_id = $1 AND status = 'paid')
"""
_WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
_LATE = """
    UPDATE subscription SET period_end = now() - interval '1 hour', anchor = anchor - interval '40 days',
        period_start = period_start - interval '40 days' WHERE tenant_id = $1
"""


def end_of(team: Team) -> Record:
    gone = TenantDeleted(
        tenant_id=team.tenant,
        slug=team.slug,
        name="Ada",
        owner_id=uuid4(),
        owner_email="ada@stowage.example",
        timezone="UTC",
        locale="en",
    )
    return Record("tenants.v1", team.tenant, 9, gone.type, b"", {}, None, event=gone)


async def delete(world: World, team: Team) -> None:
    async with world.core.database.transaction() as connection:
        await TenantHandler(world.core.subscriptions).apply(connection, [end_of(team)])


async def somebody_waits(world: World) -> None:
    async with asyncio.timeout(15):
        while not await query(world.dsn.superuser, _WAITING):
            await asyncio.sleep(0.01)


async def begin(world: World, team: Team, purpose: str) -> dict[str, Any]:
    if purpose == "plan":
        return await world.started(team)
    if purpose == "credits":
        path, body = "/api/credits/purchase", {"pack": "small", "method": "credit_card"}
    else:
        bought = await world.started(team)
        await world.press(bought)
        await world.until(team, bought, lambda p: p["status"] == "completed")
        await query(world.dsn.superuser, _LATE, team.tenant)
        assert await world.core.renewals.run() > 0
        path = f"/api/invoices/{(await world.subscription(team))['open_invoice_id']}/pay"
        body = {"method": "credit_card"}
    status, payment = await world.call("POST", path, body, who=team.principal)
    assert status == 201, payment
    return dict(payment)


async def owed(world: World) -> dict[str, dict[str, Any]]:
    """By payment, page after page."""
    found, cursor = dict[str, dict[str, Any]](), ""
    while True:
        _, page = await world.call("GET", f"/api/admin/payments/owed?limit=5{cursor}", who=ADMIN)
        found |= {item["payment_id"]: item for item in page["items"]}
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


@pytest.mark.parametrize("purpose", ["plan", "credits", "invoice"])
async def test_deleted_and_then_paid(world: World, purpose: str) -> None:
    team = Team()
    payment = await begin(world, team, purpose)
    await delete(world, team)
    before, effects = await world.events(team), await query(world.dsn.worker, _EFFECTS, team.tenant)
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    held = await world.subscription(team)
    assert (held["plan"], held["status"], held["current_period_end"]) == ("free", "active", None)
    assert await query(world.dsn.worker, _EFFECTS, team.tenant) == effects
    told = await world.events(team)
    assert sorted(told) == sorted([*before, "payment.refunded"])
    sql = "SELECT body FROM outbox_event WHERE tenant_id = $1 AND type = 'payment.refunded'"
    (event,) = [json.loads(row["body"]) for row in await query(world.dsn.worker, sql, team.tenant)]
    assert (event["to"], event["reason"]) == ("due", "its team is deleted")
    found = (await owed(world))[payment["payment_id"]]
    assert (found["due"], found["amount"], found["tenant_id"]) == (payment["amount"],) * 2 + (str(team.tenant),)
    assert (found["purpose"], found["reason"]) == (purpose, "its team is deleted")
    await world.janitor.run()

    path = f"/api/admin/payments/{payment['payment_id']}/refunds"
    for amount, left in (("1.00", Ellipsis), (None, None)):
        body = {"amount": amount, "reason": "the team is gone", "client_id": uuid4().hex}
        status, refund = await world.call("POST", path, body, who=ADMIN)
        assert (status, refund["status"]) == (201, "completed")
        due = (await owed(world)).get(payment["payment_id"])
        assert (due is None) == (left is None)
    assert (await world.status(team, payment))["refunded"] == payment["amount"]
    assert await query(world.dsn.worker, _EFFECTS, team.tenant) == effects, "and no credit note over nothing"


async def test_one_that_billing_never_heard_of_before(world: World) -> None:
    """The topic is compacted: the end may be all that is told of a team, which has begun to pay for credits."""
    team = Team()
    payment = await begin(world, team, "credits")
    assert await query(world.dsn.worker, "SELECT 1 FROM subscription WHERE tenant_id = $1", team.tenant) == []
    for _ in range(2):
        await delete(world, team)
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    assert (await owed(world))[payment["payment_id"]]["due"] == payment["amount"]
    assert await world.events(team) == ["payment.refunded"]


@pytest.mark.parametrize("purpose", ["plan", "credits", "invoice"])
async def test_paid_while_it_is_being_deleted(world: World, purpose: str) -> None:
    team = Team()
    payment = await begin(world, team, purpose)
    await world.subscription(team)
    async with world.core.database.transaction() as connection:
        await TenantHandler(world.core.subscriptions).apply(connection, [end_of(team)])
        await world.press(payment)
        await somebody_waits(world)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    assert (await world.subscription(team))["plan"] == "free"
    assert (await owed(world))[payment["payment_id"]]["due"] == payment["amount"]


@pytest.mark.parametrize("purpose", ["plan", "credits", "invoice"])
async def test_deleted_and_paid_at_once(world: World, purpose: str) -> None:
    """Whichever was first: the team is on no plan, and its money bought something or is owed."""
    teams = [Team(slug=f"team{number}") for number in range(TEAMS)]
    begun = [await begin(world, team, purpose) for team in teams]
    both = zip(teams, begun, strict=True)
    await asyncio.gather(*(deed for team, payment in both for deed in (world.press(payment), delete(world, team))))
    for team, payment in zip(teams, begun, strict=True):
        await world.until(team, payment, lambda p: p["status"] == "completed")
    due = await owed(world)
    for team, payment in zip(teams, begun, strict=True):
        held, told = await world.subscription(team), await world.events(team)
        assert (held["plan"], held["current_period_end"], held["open_invoice_id"]) == ("free", None, None)
        bought = told.count("payment.completed") - (1 if purpose == "invoice" else 0)
        assert (bought, told.count("payment.refunded")) == ((0, 1) if payment["payment_id"] in due else (1, 0))


async def test_it_buys_and_chooses_nothing_any_more(world: World) -> None:
    team = Team()
    await world.subscription(team)
    await delete(world, team)
    pack = {"pack": "small", "method": "credit_card"}
    for answer in (
        await world.initiate(team),
        await world.call("POST", "/api/credits/purchase", pack, who=team.principal),
        await world.call("POST", "/api/subscription/cancel", {}, who=team.principal),
    ):
        assert (answer[0], answer[1]["code"]) == (404, "team_not_found")
    assert await query(world.dsn.worker, "SELECT 1 FROM payment") == []


async def test_only_administrators_see_what_is_owed(world: World) -> None:
    status, _ = await world.call("GET", "/api/admin/payments/owed", who=Team().principal)
    assert status == 403
