"""Credits for money: a pack is paid for like a plan, granted once, and invoiced."""

from typing import Any
from uuid import uuid4

import pytest

from shared.security import Principal
from tests.fixtures.postgres import query
from tests.services.billing.world import Team, World


async def bought(world: World, team: Team, **body: Any) -> tuple[int, Any]:
    said = {"pack": "small", "method": "credit_card", **body}
    return await world.call("POST", "/api/credits/purchase", said, who=team.principal)


async def balance(world: World, team: Team) -> int:
    return int((await world.call("GET", "/api/credits", who=team.principal))[1]["balance"])


async def test_a_pack_is_granted_once_when_the_money_has_come(world: World) -> None:
    team = Team()
    status, payment = await bought(world, team)
    assert (status, payment["purpose"], payment["subject"]) == (201, "credits", "small")
    assert await balance(world, team) == 0
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    granted = await balance(world, team)
    assert granted > 0
    await world.http.post(f"{world.sandbox}/sandbox/redeliver/{payment['external_payment_id']}")
    await world.until(team, payment, lambda p: len(p["callbacks"]) > 1)
    assert await balance(world, team) == granted
    _, invoices = await world.call("GET", "/api/invoices", who=team.principal)
    assert [(i["gross"], i["currency"], i["status"]) for i in invoices["items"]] == [
        (payment["amount"], payment["currency"], "paid")
    ]


async def test_a_pack_and_a_plan_are_paid_side_by_side(world: World) -> None:
    team = Team()
    await world.started(team)
    assert (await bought(world, team))[0] == 201
    status, body = await bought(world, team)
    assert (status, body["code"]) == (409, "payment_open")


@pytest.mark.parametrize(
    ("body", "code"), [({"pack": "none"}, "pack_not_found"), ({"currency": "CHF"}, "pack_not_found")]
)
async def test_what_is_not_sold(world: World, body: dict[str, str], code: str) -> None:
    status, answer = await bought(world, Team(), **body)
    assert (status, answer["code"]) == (422, code)


async def test_only_managers_buy(world: World) -> None:
    team = Team()
    who = Principal(kind="user", user_id=uuid4(), tenant_id=team.tenant, tenant_slug=team.slug, role="member")
    status, body = await world.call(
        "POST", "/api/credits/purchase", {"pack": "small", "method": "credit_card"}, who=who
    )
    assert (status, body["code"]) == (403, "manager_required")
    assert not await query(world.dsn.superuser, "SELECT FROM payment")
