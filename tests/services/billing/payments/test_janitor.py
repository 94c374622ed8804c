"""Callbacks and answers that never came."""

import asyncio
from datetime import timedelta
from typing import Any

from services.billing.payments.provider import ProviderSilent
from services.billing.payments.rules import next_check
from tests.fixtures.postgres import query
from tests.services.billing.world import Team, World


async def due(world: World) -> None:
    await query(world.dsn.worker, "UPDATE payment SET next_check_at = now()")


async def test_a_lost_callback_is_found(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await world.behave(never=True)
    await world.press(payment)
    await world.janitor.run()
    assert (await world.status(team, payment))["status"] == "pending", "not asked before its time"
    await due(world)
    await world.janitor.run()
    await world.janitor.run()
    assert (await world.status(team, payment))["status"] == "completed"
    assert (await world.subscription(team))["version"] == 2
    rows = await query(world.dsn.worker, "SELECT source, to_status FROM payment_transition")
    assert [tuple(row) for row in rows] == [("janitor", "completed")]
    async with world.http.post(f"{world.sandbox}/sandbox/redeliver/{payment['external_payment_id']}"):
        pass
    seen = await world.until(team, payment, lambda p: len(p["callbacks"]) == 2)
    assert [c["verdict"] for c in seen["callbacks"]] == ["ignored", "ignored"], "found, and then delivered after all"
    assert (await world.subscription(team))["version"] == 2


async def test_it_asks_ever_more_rarely(world: World) -> None:
    await world.started(Team())
    waits = []
    for _ in range(3):
        await due(world)
        await world.janitor.run()
        (row,) = await query(world.dsn.worker, "SELECT next_check_at - now() AS wait, checks, status FROM payment")
        waits.append(round(row["wait"].total_seconds()))
    assert (waits, row["checks"], row["status"]) == ([10, 20, 40], 3, "pending")
    assert next_check(5, 1000) == timedelta(hours=1)


async def test_the_answer_was_lost(world: World) -> None:
    """The provider knows the payment and we do not know its id there: the same order brings it back."""
    team = Team()
    payment = await world.started(team)
    await world.behave(never=True)
    await world.press(payment)
    await query(world.dsn.worker, "UPDATE payment SET external_id = NULL, payment_url = NULL")
    await due(world)
    await world.janitor.run()
    seen = await world.status(team, payment)
    assert (seen["status"], seen["external_payment_id"]) == ("completed", payment["external_payment_id"])


async def test_the_provider_is_away(world: World) -> None:
    """Nothing is concluded from silence, and one payment's trouble is not another's."""
    first, second = Team(), Team(slug="bob")
    lost, paid = await world.started(first), await world.started(second)
    await world.behave(never=True)
    await world.press(paid)
    await query(
        world.dsn.worker,
        "UPDATE payment SET external_id = 'sbx_unknown' WHERE external_id = $1",
        lost["external_payment_id"],
    )
    await due(world)
    await world.janitor.run()
    assert (await world.status(first, lost))["status"] == "pending"
    assert (await world.status(second, paid))["status"] == "completed"


class Deaf:
    """A provider that never answers, and says so when it is told to."""

    name = "stripe"

    def __init__(self) -> None:
        self.asked = 0
        self.over = asyncio.Event()

    async def status(self, _external: str) -> Any:
        self.asked += 1
        await self.over.wait()
        raise ProviderSilent("no answer")

    async def close(self) -> None: ...


async def test_a_silent_provider_holds_up_only_its_own(world: World) -> None:
    deaf, teams = Deaf(), [Team(slug=slug) for slug in ("ada", "bob", "cem", "dan")]
    world.core.providers._by_name["stripe"] = deaf  # type: ignore[assignment]
    payments = [await world.started(team) for team in teams]
    await world.behave(never=True)
    await world.press(payments[-1])
    await query(world.dsn.worker, "UPDATE payment SET provider = 'stripe' WHERE team <> 'dan'")
    await query(world.dsn.worker, "UPDATE payment SET next_check_at = now() - interval '1 h' * (team <> 'dan')::int")
    run = asyncio.create_task(world.janitor.run())
    await world.until(teams[-1], payments[-1], lambda payment: payment["status"] == "completed")
    assert not run.done(), "while the other one is waited for"
    deaf.over.set()
    await run
    assert deaf.asked == 1, "in vain once, and not for each of them"
    await world.janitor.run()
    assert deaf.asked == 2, "the next one has its turn"


async def test_cancelling_what_the_provider_does_not_know(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await query(world.dsn.worker, "UPDATE payment SET external_id = 'sbx_unknown'")
    status, body = await world.call("POST", f"/api/payments/{payment['payment_id']}/cancel", who=team.principal)
    assert (status, body["status"]) == (200, "cancelled")


async def test_a_status_over_another_amount_changes_nothing(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await world.behave(never=True)
    await world.press(payment)
    await query(world.dsn.worker, "UPDATE payment SET amount = 301")
    await due(world)
    await world.janitor.run()
    assert (await world.status(team, payment))["status"] == "pending"
    status, body = await world.call("POST", f"/api/payments/{payment['payment_id']}/cancel", who=team.principal)
    assert (status, body["code"]) == (503, "provider_unavailable")
