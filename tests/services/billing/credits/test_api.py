"""Credits over HTTP, as a team, an administrator and a sister service see them."""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.billing.main import create
from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.services.billing.door import SECRET
from tests.services.billing.serving import served
from tests.services.billing.world import SERVICE, Team, World, settings

ADMIN = Principal(kind="user", user_id=uuid4(), is_admin=True)


async def given(world: World, team: Team, amount: int, **changes: Any) -> dict[str, Any]:
    await world.subscription(team)
    body = {"tenant_id": str(team.tenant), "amount": amount, "source": "system_bonus", "description": "Welcome"}
    body |= {"client_id": uuid4().hex, **changes}
    status, answer = await world.call("POST", "/api/admin/credits/grants", body, who=ADMIN)
    assert status == 201, answer
    return dict(answer)


async def asked(world: World, team: Team, path: str, body: Any, *, url: str | None = None) -> tuple[int, Any]:
    headers = {"stowage-internal": sign(SERVICE, secret=SECRET, audience="billing", issuer="upload")}
    target = f"{url or world.url}/internal/credits/{team.tenant}{path}"
    async with world.http.post(target, json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def got(world: World, team: Team, path: str = "") -> dict[str, Any]:
    status, body = await world.call("GET", f"/api/credits{path}", who=team.principal)
    assert status == 200, body
    return dict(body)


async def test_from_grant_to_history(world: World) -> None:
    team = Team()
    assert (await got(world, team))["balance"] == 0
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    first = await given(world, team, 10, client_id="once", expires_at=soon)
    again = await given(world, team, 10, client_id="once", expires_at=soon)
    assert (first["balance"], again["repeated"], again["transaction_id"]) == (10, True, first["transaction_id"])
    body = {"use": "image", "quantity": 4, "client_id": "u1", "expires_in": 60}
    status, held = await asked(world, team, "/reservations", body)
    assert (status, held["status"], held["amount"], held["balance"]) == (201, "open", 4, 6)
    status, settled = await asked(world, team, f"/reservations/{held['reservation_id']}/settle", {"quantity": 3})
    assert (status, settled["status"], settled["settled"], settled["balance"]) == (200, "settled", 3, 7)
    status, spent = await asked(world, team, "/spend", {"use": "traffic_gb", "quantity": 1, "client_id": "u2"})
    assert (status, spent["amount"], spent["balance"]) == (201, -5, 2)
    status, refused = await asked(world, team, "/spend", {"use": "traffic_gb", "client_id": "u3"})
    assert (status, refused["code"], refused["balance"], refused["missing"]) == (402, "credits_insufficient", 2, 3)
    status, other = await asked(world, team, "/spend", {"use": "image", "client_id": "u2"})
    assert (status, other["code"]) == (409, "client_id_reused")
    seen = await got(world, team)
    assert (seen["balance"], seen["reserved"], seen["spent"], seen["position"]) == (2, 0, 8, 4)
    assert [(g["remaining"], g["source"]) for g in seen["grants"]] == [(2, "system_bonus")]
    items = (await got(world, team, "/transactions"))["items"]
    assert [(i["type"], i["amount"], i["balance"]) for i in items] == [
        ("spend", -5, 2),
        ("settle", 1, 7),
        ("reserve", -4, 6),
        ("grant", 10, 10),
    ]
    assert items[0]["by"] == "upload"
    assert items[0]["client_id"] == "u2"
    grant = first["subject"]
    assert {(p["grant_id"], p["account"], p["amount"]) for p in items[0]["grants"]} == {
        (grant, "available", -5),
        (grant, "spent", 5),
    }


async def test_pages_filters_csv_and_statement(world: World) -> None:
    team = Team()
    await given(world, team, 5, description="=1+1")
    await given(world, team, 5, source="refund")
    for number in range(7):
        await asked(world, team, "/spend", {"use": "image", "client_id": f"n{number}"})
    page = await got(world, team, "/transactions?limit=4")
    rest = await got(world, team, f"/transactions?limit=9&cursor={page['next_cursor']}")
    assert [i["seq"] for i in page["items"] + rest["items"]] == list(range(9, 0, -1))
    assert rest["next_cursor"] is None
    grants = (await got(world, team, "/transactions?type=grant"))["items"]
    assert [i["source"] for i in grants] == ["refund", "system_bonus"]
    paid = (await got(world, team, "/transactions?source=refund&type=spend"))["items"]
    assert [i["seq"] for i in paid] == [9, 8]
    since = grants[0]["at"].replace("+", "%2B")
    assert len((await got(world, team, f"/transactions?from={since}"))["items"]) == 8
    assert len((await got(world, team, f"/transactions?to={since}"))["items"]) == 1
    headers = {"stowage-internal": sign(team.principal, secret=SECRET, audience="billing", issuer="gateway")}
    for target, accept in (("?format=csv", "*/*"), ("", "text/csv")):
        url = f"{world.url}/api/credits/transactions{target}"
        async with world.http.get(url, headers={**headers, "accept": accept}) as answer:
            rows = list(csv.DictReader(io.StringIO(await answer.text())))
        assert [row["balance"] for row in rows] == ["5", "10", "9", "8", "7", "6", "5", "4", "3"]
        assert rows[0]["description"] == "'=1+1"
    told = await got(world, team, "/statement?from=2026-01-01T00:00:00Z&to=2100-01-01T00:00:00Z")
    assert (told["opening_balance"], told["closing_balance"], told["spent"]) == (0, 3, 7)
    assert told["granted"] == {"purchase": 0, "ad_reward": 0, "system_bonus": 5, "refund": 5}
    assert (told["from"], told["transactions"], told["position"]) == ("2026-01-01T00:00:00Z", 9, 9)


async def test_packs_and_what_they_buy(world: World) -> None:
    told = await got(world, Team(), "/packs")
    assert next((p["code"], p["credits"], p["prices"]["EUR"]) for p in told["items"]) == ("small", 100, "4.99")
    assert [(u["use"], u["unit"], u["cost"]) for u in told["uses"]] == [("image", "image", 1), ("traffic_gb", "GB", 5)]


GRANT = {"tenant_id": str(uuid4()), "amount": 1, "source": "refund", "description": "x", "client_id": "x"}
BAD: list[tuple[str, Any, int, str]] = [
    ("amount", 0, 422, "validation_failed"),
    ("amount", -5, 422, "validation_failed"),
    ("amount", 1.5, 422, "validation_failed"),
    ("amount", 2**63, 422, "validation_failed"),
    ("source", "theft", 422, "validation_failed"),
    ("description", "", 422, "validation_failed"),
    ("client_id", "", 422, "validation_failed"),
    ("client_id", "x" * 129, 422, "validation_failed"),
    ("client_id", "a\u0000b", 422, "validation_failed"),
    ("expires_at", "2026-01-01T00:00:00", 422, "validation_failed"),
    ("expires_at", "2020-01-01T00:00:00Z", 422, "expiry_past"),
    ("tenant_id", "nobody", 422, "validation_failed"),
    ("tenant_id", str(uuid4()), 404, "tenant_not_found"),
]


async def test_bad_input_grants_nothing(world: World) -> None:
    team = Team()
    await world.subscription(team)
    for name, value, expected, _code in BAD:
        body = {**GRANT, "tenant_id": str(team.tenant), name: value}
        status, answer = await world.call("POST", "/api/admin/credits/grants", body, who=ADMIN)
        assert status == expected, (name, value, answer)
        assert answer["code"], answer
    for path, expected in (
        ("/transactions?cursor=bm9uc2Vuc2U", 422),
        ("/transactions?cursor=WyJhIl0", 422),
        ("/transactions?type=theft", 422),
        ("/transactions?from=2026-01-01T00:00:00", 422),
        ("/transactions?limit=0", 422),
        ("/statement?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 422),
        ("/statement?from=2026-01-02T00:00:00Z", 422),
    ):
        assert (await world.call("GET", f"/api/credits{path}", who=team.principal))[0] == expected, path
    for path, body, expected in (
        ("/spend", {"use": "yacht", "client_id": "x"}, 422),
        ("/spend", {"use": "image", "quantity": 0, "client_id": "x"}, 422),
        ("/spend", {"use": "image", "quantity": 10**9, "client_id": "x"}, 402),
        ("/reservations", {"use": "image", "client_id": "x", "expires_in": 0}, 422),
        (f"/reservations/{uuid4()}/settle", {}, 404),
        (f"/reservations/{uuid4()}/release", {}, 404),
    ):
        assert (await asked(world, team, path, body))[0] == expected, path
    assert await query(world.dsn.worker, "SELECT FROM credit_transaction") == []


@pytest.mark.parametrize("who", [Team().principal, Team(role="member").principal, Principal(), SERVICE])
async def test_only_administrators_and_services_give_credits(world: World, who: Principal) -> None:
    """S3.3: whoever else asks gets nothing, and to them the internal twin does not exist."""
    status, _ = await world.call("POST", "/api/admin/credits/grants", GRANT, who=who)
    assert status in (401, 403)
    if who is not SERVICE:
        status, _ = await world.call("POST", f"/internal/credits/{uuid4()}/grants", GRANT, who=who)
        assert status == 404
    assert await query(world.dsn.worker, "SELECT FROM credit_transaction") == []


async def test_sixty_four_clients_spend_one_balance(world: World) -> None:
    """Through two processes on one database: never negative, never a refusal that should have passed."""
    team = Team()
    for amount in (100, 80, 20):
        await given(world, team, amount)
    async with served(create(settings(world.dsn.app, world.sandbox, world.door.url))) as second:
        urls = [world.url, second]

        async def client(number: int) -> list[int]:
            answers = []
            for turn in range(5):
                url, name = urls[(number + turn) % 2], f"{number}-{turn}"
                if turn == 4:
                    body = {"use": "image", "client_id": name, "expires_in": 60}
                    status, held = await asked(world, team, "/reservations", body, url=url)
                    if status == 201:
                        path = f"/reservations/{held['reservation_id']}/settle"
                        assert (await asked(world, team, path, {}, url=urls[number % 2]))[0] == 200
                else:
                    status, _ = await asked(world, team, "/spend", {"use": "image", "client_id": name}, url=url)
                answers.append(status)
            return answers

        answers = [status for found in await asyncio.gather(*map(client, range(64))) for status in found]
    assert (answers.count(201), answers.count(402)) == (200, 120)
    seen = await got(world, team)
    assert (seen["balance"], seen["reserved"], seen["spent"]) == (0, 0, 200)
    sums = await query(world.dsn.worker, "SELECT sum(amount) FROM credit_posting GROUP BY seq, grant_id")
    assert {row[0] for row in sums} == {0}


async def test_credits_stay_whatever_the_plan(world: World) -> None:
    team = Team()
    await given(world, team, 9)
    before = await got(world, team)
    async with world.core.database.transaction() as connection:
        plan = world.core.catalogue.find("pro")
        assert plan is not None
        await world.core.subscriptions.change(connection, team.tenant, plan)
        await world.core.subscriptions.change(connection, team.tenant, world.core.catalogue.default)
    after = await got(world, team)
    assert {**after, "as_of": 0} == {**before, "as_of": 0}
