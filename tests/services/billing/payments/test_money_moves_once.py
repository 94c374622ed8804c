"""The sandbox's switches, one by one and all together: one activation, and every callback has its verdict."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.fixtures.postgres import query
from tests.services.billing.world import Team, World

UPGRADED = [
    "payment.completed",
    "subscription.changed",
    "entitlements.changed",
    "entitlements.changed",
    "invoice.issued",
]


async def assert_paid_once(world: World, team: Team, payment: dict[str, Any]) -> None:
    subscription = await world.subscription(team)
    assert (subscription["plan"], subscription["version"]) == ("pro", 2)
    assert sorted(await world.events(team)) == sorted(UPGRADED)
    rows = await query(
        world.dsn.worker,
        "SELECT count(*) FROM payment_transition WHERE tenant_id = $1 AND to_status = 'completed'",
        team.tenant,
    )
    assert rows[0][0] == 1
    seen = await world.status(team, payment)
    assert (seen["status"], seen["amount"], seen["currency"], seen["completed_at"] is None) == (
        "completed",
        "3.00",
        "EUR",
        False,
    )


def verdicts(seen: dict[str, Any]) -> Counter[str]:
    return Counter(callback["verdict"] for callback in seen["callbacks"])


async def test_a_plain_upgrade(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    assert (payment["status"], payment["amount"], payment["currency"]) == ("pending", "3.00", "EUR")
    assert payment["qr_code"].startswith("data:image/svg+xml")
    assert payment["payment_url"] == f"{world.sandbox}/pay/{payment['external_payment_id']}"
    assert (await world.subscription(team))["plan"] == "free"
    await world.press(payment)
    seen = await world.until(team, payment, lambda p: p["status"] == "completed")
    assert verdicts(seen) == {"accepted": 2}, "processing, completed"
    await assert_paid_once(world, team, payment)
    assert (await world.subscription(team))["entitlements"]["storage_bytes"] == 10 * 1024**3


async def test_three_times_in_reverse_forged_and_over_another_amount(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await world.behave(
        payment_id=payment["payment_id"], deliveries=3, order="reverse", forged=True, wrong_amount="1.00"
    )
    await world.press(payment)
    seen = await world.until(team, payment, lambda p: len(p["callbacks"]) == 8)
    assert verdicts(seen) == {"accepted": 1, "ignored": 1, "duplicate": 4, "rejected": 2}
    reasons = [c["reason"] for c in seen["callbacks"] if c["verdict"] == "rejected"]
    assert reasons == ["the signature does not match", "amount 1.00 instead of 3.00"]
    assert [c["reason"] for c in seen["callbacks"] if c["verdict"] == "ignored"] == [
        "the payment is completed and does not go back to processing"
    ]
    assert Counter(world.door.answers) == {401: 1, 202: 3, 200: 4}
    await assert_paid_once(world, team, payment)


@pytest.mark.parametrize(("action", "becomes"), [("fail", "failed"), ("cancel", "cancelled")])
async def test_not_paid(world: World, action: str, becomes: str) -> None:
    team = Team()
    payment = await world.started(team)
    await world.press(payment, action)
    await world.until(team, payment, lambda p: p["status"] == becomes)
    assert (await world.subscription(team))["plan"] == "free"
    assert sorted(await world.events(team)) == ["entitlements.changed", f"payment.{becomes}"]
    again = await world.started(team)
    assert again["payment_id"] != payment["payment_id"], "and may be tried again"


async def test_late(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await world.behave(delay_ms=300)
    await world.press(payment)
    assert (await world.status(team, payment))["status"] == "pending"
    await world.until(team, payment, lambda p: p["status"] == "completed")
    await assert_paid_once(world, team, payment)


async def test_the_door_is_away_for_a_while(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    world.door.away = 5
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    await assert_paid_once(world, team, payment)


async def test_never_and_redelivered_by_hand(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await world.behave(never=True)
    await world.press(payment)
    await asyncio.sleep(0.2)
    assert (await world.status(team, payment))["callbacks"] == []
    for _ in range(2):
        async with world.http.post(f"{world.sandbox}/sandbox/redeliver/{payment['external_payment_id']}") as answer:
            assert (answer.status, await answer.json()) == (200, {"events": 2})
    seen = await world.until(team, payment, lambda p: len(p["callbacks"]) == 4)
    assert verdicts(seen) == {"accepted": 2, "duplicate": 2}
    await assert_paid_once(world, team, payment)


async def test_the_same_claims_from_everywhere_at_once(world: World) -> None:
    """Callbacks, two workers and two janitors: one of them changes something."""
    team = Team()
    payment = await world.started(team)
    await world.behave(deliveries=10)
    await query(world.dsn.worker, "UPDATE payment SET next_check_at = now()")
    await world.press(payment)
    await asyncio.gather(*[world.janitor.run() for _ in range(4)], *[world.callbacks.work() for _ in range(4)])
    await world.until(team, payment, lambda p: len(p["callbacks"]) == 20)
    await assert_paid_once(world, team, payment)
