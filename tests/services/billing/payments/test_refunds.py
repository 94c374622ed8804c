"""Money given back: never more than was paid, once for each time it is asked, whatever the provider answers."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.billing.payments.provider import ProviderRefused, ProviderSilent
from shared.security import Principal
from tests.fixtures.postgres import query
from tests.services.billing.world import Team, World, told

ADMIN = Principal(kind="user", user_id=uuid4(), is_admin=True)


async def paid(world: World, team: Team) -> dict[str, Any]:
    payment = await world.started(team)
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    return payment


async def refund(world: World, payment: dict[str, Any], who: Principal = ADMIN, **body: Any) -> tuple[int, Any]:
    told = {"reason": "asked for", "client_id": uuid4().hex, **body}
    return await world.call("POST", f"/api/admin/payments/{payment['payment_id']}/refunds", told, who=who)


async def test_in_part_then_the_rest(world: World) -> None:
    team = Team()
    payment = await paid(world, team)
    status, part = await refund(world, payment, amount="1.25")
    assert (status, part["status"], part["amount"], part["currency"]) == (201, "completed", "1.25", "EUR")
    assert part["external_refund_id"].startswith("rfd_")
    status, rest = await refund(world, payment)
    assert (status, rest["amount"]) == (201, "1.75"), "all that is left"
    status, body = await refund(world, payment)
    assert (status, body["code"]) == (422, "refund_too_large")
    assert (await world.status(team, payment))["refunded"] == "3.00"
    rows = await query(
        world.dsn.worker, "SELECT body FROM outbox_event WHERE type = 'payment.refunded' ORDER BY topic, seq"
    )
    assert [(told["amount"], told["to"]) for told in (json.loads(row["body"]) for row in rows)] == [
        (125, "provider"),
        (175, "provider"),
    ]
    steps = await query(world.dsn.worker, "SELECT to_status FROM payment_transition ORDER BY id")
    assert [row["to_status"] for row in steps] == ["processing", "completed", *["refunding", "refunded"] * 2]
    _, listed = await world.call("GET", f"/api/admin/payments/{payment['payment_id']}/refunds", who=ADMIN)
    assert [item["amount"] for item in listed["items"]] == ["1.25", "1.75"]


async def test_the_same_again_is_the_same(world: World) -> None:
    payment = await paid(world, Team())
    answers = await asyncio.gather(*[refund(world, payment, amount="1.00", client_id="c1") for _ in range(6)])
    assert {(status, body["refund_id"]) for status, body in answers} == {(201, answers[0][1]["refund_id"])}
    rows = await query(world.dsn.worker, "SELECT refunded FROM payment")
    assert rows[0]["refunded"] == 100
    status, body = await refund(world, payment, amount="2.00", client_id="c1")
    assert (status, body["code"]) == (422, "refund_id_reused")


async def test_many_at_once_never_give_more_than_was_paid(world: World) -> None:
    team = Team()
    payment = await paid(world, team)
    answers = await asyncio.gather(*[refund(world, payment, amount="0.70") for _ in range(9)])
    assert sorted(status for status, _ in answers) == [201] * 4 + [422] * 5
    assert (await world.status(team, payment))["refunded"] == "2.80"
    with pytest.raises(asyncpg.CheckViolationError):
        await query(world.dsn.worker, "UPDATE payment SET refunded = amount + 1")


@pytest.mark.parametrize("amount", ["0", "0.00", "3.01", "1.234"])
async def test_amounts_that_are_none(world: World, amount: str) -> None:
    payment = await paid(world, Team())
    status, body = await refund(world, payment, amount=amount)
    assert (status, body["code"]) == (422, "refund_too_large")


async def test_who_may_and_what_can_be(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    assert (await refund(world, payment, who=team.principal))[0] == 403
    status, body = await refund(world, payment)
    assert (status, body["code"]) == (409, "payment_not_completed")
    status, body = await refund(world, {"payment_id": str(uuid4())})
    assert (status, body["code"]) == (404, "payment_not_found")


async def test_a_provider_that_says_no_keeps_nothing_reserved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    payment = await paid(world, Team())

    async def refuse(_returning: object) -> str:
        raise ProviderRefused("no")

    service = world.core.refunds
    monkeypatch.setattr(world.core.providers.get("external"), "refund", refuse)
    with pytest.raises(Exception, match="refused"):
        await service.refund(payment["payment_id"], None, "c1", "asked for", "admin")
    rows = await query(
        world.dsn.worker, "SELECT p.refunded, r.status FROM payment p JOIN payment_refund r ON r.payment_id = p.id"
    )
    assert [tuple(row) for row in rows] == [(0, "failed")]
    assert (await refund(world, payment, client_id="c1"))[1]["code"] == "refund_refused"
    assert (await refund(world, payment))[0] == 201, "and may be asked again, as another one"


async def test_unknown_is_not_failed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given back, and the answer lost: the worker asks again under the same id, and it is given once."""
    payment = await paid(world, Team())
    provider = world.core.providers.get("external")
    honest = provider.refund

    async def lose(returning: Any) -> str:
        await honest(returning)
        raise ProviderSilent("the line went dead")

    monkeypatch.setattr(provider, "refund", lose)
    with pytest.raises(Exception, match="does not answer"):
        await world.core.refunds.refund(payment["payment_id"], "2.00", "c1", "asked for", "admin")
    status, body = await refund(world, payment, amount="2.00")
    assert (status, body["code"]) == (422, "refund_too_large"), "what may have gone is not given again"
    monkeypatch.setattr(provider, "refund", honest)
    await world.core.refunds.run()
    assert (await refund(world, payment, amount="2.00", client_id="c1"))[1]["status"] in {"pending", "completed"}
    await query(world.dsn.worker, "UPDATE payment_refund SET next_try_at = now()")
    await world.core.refunds.run()
    rows = await query(world.dsn.worker, "SELECT status FROM payment_refund")
    assert [row["status"] for row in rows] == ["completed"]
    assert (await refund(world, payment, amount="1.01"))[1]["code"] == "refund_too_large"
    assert (await refund(world, payment, amount="1.00"))[0] == 201


async def test_one_that_always_fails_keeps_no_other_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = world.core.providers.get("external")
    honest, seen = provider.refund, list[str]()

    async def silent(_returning: Any) -> str:
        raise ProviderSilent("the line went dead")

    monkeypatch.setattr(provider, "refund", silent)
    teams = [Team(slug=slug) for slug in ("ada", "bob", "eve")]
    for team in teams:
        payment = await paid(world, team)
        with pytest.raises(Exception, match="does not answer"):
            await world.core.refunds.refund(payment["payment_id"], None, "c1", "asked for", "admin")

    async def broken_for_the_first(returning: Any) -> str:
        seen.append(str(returning.payment_id))
        if returning.payment_id == UUID(first):
            raise KeyError("nobody thought of that")
        return await honest(returning)

    rows = await query(world.dsn.superuser, "UPDATE payment_refund SET next_try_at = now() RETURNING payment_id")
    first = str(rows[0]["payment_id"])
    monkeypatch.setattr(provider, "refund", broken_for_the_first)
    await world.core.refunds.run()
    rows = await query(world.dsn.worker, "SELECT payment_id, status, next_try_at > now() AS later FROM payment_refund")
    assert {str(row["payment_id"]): row["status"] for row in rows if row["status"] == "pending"} == {first: "pending"}
    assert [row["later"] for row in rows if row["status"] == "pending"] == [True]
    assert len(seen) == 3


async def late(world: World, team: Team) -> dict[str, Any]:
    """Paid after it was cancelled, and told three times."""
    payment = await world.started(team)
    await world.call("POST", f"/api/payments/{payment['payment_id']}/cancel", who=team.principal)
    for _ in range(3):
        await world.callback(told(payment))
    await world.until(team, payment, lambda p: len(p["callbacks"]) >= 3 and p["status"] == "completed")
    return payment


async def test_paid_after_it_was_cancelled(world: World) -> None:
    """The team does not get a plan it has given up, but credits for its money, once."""
    team = Team()
    payment = await late(world, team)
    assert (await world.subscription(team))["plan"] == "free"
    assert (await world.events(team)).count("payment.refunded") == 1
    assert "payment.completed" not in await world.events(team)
    rows = await query(world.dsn.worker, "SELECT from_status, to_status FROM payment_transition ORDER BY id")
    assert [tuple(row) for row in rows][-2:] == [("cancelled", "completed"), ("completed", "refunded")]
    _, held = await world.call("GET", "/api/credits", who=team.principal)
    assert (held["balance"], [grant["source"] for grant in held["grants"]]) == (61, ["refund"]), "3.00 of 4.99 for 100"
    assert (await world.status(team, payment))["refunded"] == "3.00"
    assert (await refund(world, payment))[1]["code"] == "refund_too_large", "not a second time"


async def test_late_money_that_buys_no_credits_is_due(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.billing.credits.packs.credits_for", lambda _money, _packs: None)
    team = Team()
    payment = await late(world, team)
    rows = await query(world.dsn.worker, "SELECT from_status, to_status FROM payment_transition ORDER BY id")
    assert [tuple(row) for row in rows][-1] == ("completed", "refund_due")
    assert (await world.status(team, payment))["refunded"] == "0.00", "somebody has to see to it"


async def test_failed_paid_by_another_and_then_paid_after_all(world: World) -> None:
    """Mobile money that came late, when the team had paid again: one plan, and the other money back."""
    team = Team()
    first = await world.started(team)
    await world.callback(told(first, "failed"))
    await world.until(team, first, lambda p: p["status"] == "failed")
    second = await world.started(team)
    await world.callback(told(second))
    await world.until(team, second, lambda p: p["status"] == "completed")
    await world.callback(told(first))
    await world.until(team, first, lambda p: p["status"] == "completed")
    assert (await world.subscription(team))["version"] == 2
    events = await world.events(team)
    assert (events.count("payment.completed"), events.count("payment.refunded")) == (1, 1)


async def test_failed_and_then_paid_after_all(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await world.callback(told(payment, "failed"))
    await world.until(team, payment, lambda p: p["status"] == "failed")
    await world.callback(told(payment))
    await world.until(team, payment, lambda p: p["status"] == "completed")
    assert (await world.subscription(team))["plan"] == "pro", "nobody had given it up"
