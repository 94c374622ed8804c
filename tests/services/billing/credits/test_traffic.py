"""Traffic by the GB for credits: spent and told in one commit, once."""

import asyncio
from typing import Any

import orjson
import pytest

from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.services.billing.credits.test_api import asked, given, got
from tests.services.billing.door import SECRET
from tests.services.billing.world import Team, World

GB = 1024**3


async def buy(world: World, who: Principal, gigabytes: Any, **headers: str) -> tuple[int, Any]:
    sent = {"stowage-internal": sign(who, secret=SECRET, audience="billing", issuer="gateway"), **headers}
    url, body = f"{world.url}/api/credits/traffic", {"gigabytes": gigabytes}
    async with world.http.post(url, json=body, headers=sent) as answer:
        return answer.status, await answer.json(content_type=None)


async def told(world: World, team: Team) -> list[dict[str, Any]]:
    """What is published of it."""
    sql = "SELECT body FROM outbox_event WHERE tenant_id = $1 AND type = 'traffic.bought' ORDER BY seq"
    return [orjson.loads(row["body"]) for row in await query(world.dsn.superuser, sql, team.tenant)]


async def test_spent_and_told_in_one_commit(world: World) -> None:
    team = Team()
    await given(world, team, 20)
    status, done = await buy(world, team.principal, 3)
    assert (status, done["amount"], done["balance"]) == (201, -15, 5)
    [event] = await told(world, team)
    assert (event["bytes"], event["credits"], event["transaction_id"]) == (3 * GB, 15, done["transaction_id"])
    assert event["month"] == event["at"][:7]
    rows = await query(
        world.dsn.superuser,
        "SELECT count(DISTINCT xmin::text) AS commits FROM outbox_event WHERE tenant_id = $1 AND occurred_at = $2",
        team.tenant,
        (await query(world.dsn.superuser, "SELECT at FROM credit_transaction WHERE use = 'traffic_gb'"))[0]["at"],
    )
    assert rows[0]["commits"] == 1
    [spent] = [i for i in (await got(world, team, "/transactions"))["items"] if i["type"] == "spend"]
    assert (spent["use"], spent["quantity"], spent["amount"]) == ("traffic_gb", 3, -15)


async def test_too_few_credits_buy_nothing(world: World) -> None:
    team = Team()
    await given(world, team, 4)
    status, refused = await buy(world, team.principal, 1)
    assert (status, refused["code"], refused["balance"], refused["missing"]) == (402, "credits_insufficient", 4, 1)
    assert await told(world, team) == []


async def test_the_same_key_buys_once(world: World) -> None:
    team = Team()
    await given(world, team, 20)
    who = team.principal
    first = await buy(world, who, 1, **{"idempotency-key": "once"})
    assert await buy(world, who, 1, **{"idempotency-key": "once"}) == first
    # Also when the answer was lost with the process that had it.
    await query(world.dsn.superuser, "DELETE FROM idempotency_key")
    status, again = await buy(world, who, 1, **{"idempotency-key": "once"})
    assert (status, again["repeated"], again["transaction_id"]) == (201, True, first[1]["transaction_id"])
    assert len(await told(world, team)) == 1
    assert (await got(world, team))["balance"] == 15


async def test_sixty_four_buyers_and_one_balance(world: World) -> None:
    team = Team()
    await given(world, team, 53)
    who = team.principal
    answers = await asyncio.gather(*(buy(world, who, 1) for _ in range(64)))
    statuses = [status for status, _ in answers]
    assert (statuses.count(201), statuses.count(402)) == (10, 54)
    assert (await got(world, team))["balance"] == 3
    assert [event["bytes"] for event in await told(world, team)] == [GB] * 10


async def test_whatever_pays_for_it_buys_it(world: World) -> None:
    """A sister service that holds first and uses less."""
    team = Team()
    await given(world, team, 20)
    body = {"use": "traffic_gb", "quantity": 3, "client_id": "held", "expires_in": 60}
    _, held = await asked(world, team, "/reservations", body)
    assert await told(world, team) == []
    await asked(world, team, f"/reservations/{held['reservation_id']}/settle", {"quantity": 2})
    assert [(e["bytes"], e["credits"]) for e in await told(world, team)] == [(2 * GB, 10)]


async def test_who_may_and_what_makes_no_sense(world: World) -> None:
    team = Team()
    await given(world, team, 20)
    status, body = await buy(world, Team(tenant=team.tenant, role="member").principal, 1)
    assert (status, body["code"]) == (403, "manager_required")
    for gigabytes in (0, -1, 1.5, None):
        assert (await buy(world, team.principal, gigabytes))[0] == 422
    unlimited = """UPDATE subscription SET entitlements =
        jsonb_set(entitlements::jsonb, '{traffic_bytes_month}', 'null') WHERE tenant_id = $1"""
    await query(world.dsn.superuser, unlimited, team.tenant)
    status, body = await buy(world, team.principal, 1)
    assert (status, body["code"]) == (409, "traffic_unlimited")
    assert (await got(world, team))["balance"] == 20


@pytest.mark.parametrize("use", ["image", "traffic_gb"])
async def test_what_a_sister_service_is_told_of_a_price(world: World, use: str) -> None:
    team = Team()
    await given(world, team, 7)
    headers = {"stowage-internal": sign(Principal(kind="service"), secret=SECRET, audience="billing", issuer="upload")}
    url = f"{world.url}/internal/credits/{team.tenant}/offer?use={use}"
    async with world.http.get(url, headers=headers) as answer:
        offer = await answer.json()
    assert (offer["cost"], offer["balance"]) == ({"image": 1, "traffic_gb": 5}[use], 7)
    async with world.http.get(url.replace(use, "unheard"), headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, "use_unknown")
