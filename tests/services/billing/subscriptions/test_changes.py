"""What a team chooses, through the API."""

import asyncio
from typing import Any

import pytest

from tests.fixtures.postgres import query
from tests.services.billing.world import Team, World


async def ask(world: World, team: Team, what: str, **body: Any) -> tuple[int, Any]:
    return await world.call("POST", f"/api/subscription/{what}", body, who=team.principal)


async def paid(world: World, team: Team) -> dict[str, Any]:
    payment = await world.started(team)
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    return await world.subscription(team)


async def test_cancelled_and_resumed(world: World) -> None:
    team = Team()
    before = await paid(world, team)
    assert (before["price"], before["currency"], before["interval"], before["next"]) == ("3.00", "EUR", "month", None)
    status, body = await ask(world, team, "cancel")
    assert (status, body["plan"], body["next"]) == (
        200,
        "pro",
        {
            "plan": "free",
            "interval": None,
            "at": before["current_period_end"],
            "bytes_over": None,
            "members_over": None,
        },
    )
    assert (await ask(world, team, "resume"))[1]["next"] is None
    status, body = await ask(world, team, "cancel", when="now")
    assert (status, body["plan"], body["current_period_end"], body["price"]) == (200, "free", None, None)
    assert (await world.events(team)).count("entitlements.changed") == 3


async def test_more_is_paid_for_first(world: World) -> None:
    team = Team()
    status, body = await ask(world, team, "change", plan="pro")
    assert (status, body["code"], body["price"], body["currency"]) == (402, "payment_required", "3.00", "EUR")
    assert (await world.subscription(team))["plan"] == "free"


async def test_of_two_that_choose_at_once_one_wins(world: World) -> None:
    team = Team()
    version = (await paid(world, team))["version"]
    answers = await asyncio.gather(*(ask(world, team, "cancel", version=version) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200, *[409] * 7]
    assert {body["code"] for status, body in answers if status == 409} == {"subscription_changed"}


async def test_an_invoice_of_the_next_period_is_paid(world: World) -> None:
    team = Team()
    await paid(world, team)
    await query(
        world.dsn.superuser,
        "UPDATE subscription SET period_end = now() - interval '1 hour',"
        " anchor = anchor - interval '40 days', period_start = period_start - interval '40 days'",
    )
    assert await world.core.renewals.run() > 0
    owed = await world.subscription(team)
    assert (owed["status"], owed["plan"], owed["ends_at"] is not None) == ("past_due", "pro", True)
    status, payment = await world.call(
        "POST", f"/api/invoices/{owed['open_invoice_id']}/pay", {"method": "credit_card"}, who=team.principal
    )
    assert (status, payment["amount"], payment["purpose"]) == (201, "3.00", "invoice")
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    after = await world.subscription(team)
    assert (after["status"], after["open_invoice_id"], after["ends_at"]) == ("active", None, None)
    _, invoices = await world.call("GET", "/api/invoices", who=team.principal)
    assert [invoice["status"] for invoice in invoices["items"]] == ["paid", "paid"]


@pytest.mark.parametrize(
    ("what", "body", "code"),
    [
        ("change", {"plan": "nothing"}, "plan_not_found"),
        ("change", {"plan": "pro", "currency": "CHF"}, "price_not_found"),
        ("change", {}, "invalid_request"),
        ("cancel", {"when": "yesterday"}, "invalid_request"),
    ],
)
async def test_what_is_refused(world: World, what: str, body: dict[str, Any], code: str) -> None:
    status, answer = await ask(world, Team(), what, **body)
    assert (status, answer["code"]) == (422, code)


async def test_only_managers_choose(world: World) -> None:
    for what in ("cancel", "resume"):
        status, body = await ask(world, Team(role="member"), what)
        assert (status, body["code"]) == (403, "manager_required")
