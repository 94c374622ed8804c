"""`GET /api/plans`: what a team has, and what a change would do. Real billing, a usage that answers or does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiohttp import web

from services.billing.catalogue.loader import DEFAULT
from shared.security import Principal
from shared.security.internal import HEADER, verify
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.catalogue.family import PRICE, family, put
from tests.services.billing.door import SECRET
from tests.services.billing.world import Team, World, running

GB = 1024**3


@dataclass
class Usage:
    """Stands for the service: `used` of storage, by team; None answers an error."""

    used: dict[UUID, int | None] = field(default_factory=dict)
    members: int | None = None
    callers: list[str] = field(default_factory=list)

    async def limits(self, request: web.Request) -> web.Response:
        who = verify(request.headers[HEADER], secret=SECRET, audience="usage")
        self.callers.append(who.kind)
        used = self.used.get(UUID(request.match_info["tenant"]))
        if used is None:
            return web.Response(status=503)
        items = [{"metric": "storage", "used": used, "limit": None}, {"metric": "traffic", "used": 1}]
        items += [{"metric": "members", "used": self.members}] if self.members is not None else []
        body = {"within": True, "position": 7, "as_of": "2026-03-01T00:00:00Z", "items": items}
        return web.Response(body=orjson.dumps(body), content_type="application/json")


@asynccontextmanager
async def stands_for(usage: Usage) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/internal/usage/{tenant}/limits", usage.limits)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def opened(dsn: ServiceDatabase, **changes: Any) -> AsyncIterator[tuple[World, Usage]]:
    usage = Usage()
    async with stands_for(usage) as url, running(dsn, usage_url=url, **changes) as world:
        yield world, usage


async def subscribe(world: World, team: Team, plan: str) -> None:
    core = world.core
    async with core.database.transaction() as connection:
        found = core.catalogue.plans[plan]
        await core.subscriptions.change(connection, team.tenant, found, found.prices[0] if found.prices else None)


async def plans(world: World, who: Team | Principal, asked: str = "") -> dict[str, Any]:
    status, body = await world.call("GET", f"/api/plans{asked}", who=who.principal if isinstance(who, Team) else who)
    assert status == 200, body
    return dict(body)


def changes(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {plan["code"]: plan["change"] for plan in body["items"]}


async def test_up_and_down(billing_db: ServiceDatabase) -> None:
    async with opened(billing_db, plan_catalogue="tiers") as (world, usage):
        team = Team()
        usage.used[team.tenant] = 15 * GB
        await subscribe(world, team, "tier2")
        body = await plans(world, team)
    assert [(plan["code"], plan["current"]) for plan in body["items"]] == [
        ("basic", False),
        ("tier1", False),
        ("tier2", True),
        ("tier3", False),
        ("tier4", False),
    ]
    found = changes(body)
    assert {code: change["kind"] for code, change in found.items()} == {
        "basic": "downgrade",
        "tier1": "downgrade",
        "tier2": "same",
        "tier3": "upgrade",
        "tier4": "upgrade",
    }
    assert {code: change["bytes_over"] for code, change in found.items()} == {
        "basic": 10 * GB,
        "tier1": 5 * GB,
        "tier2": 0,
        "tier3": 0,
        "tier4": 0,
    }
    (period_end,) = [row["period_end"] for row in await query(billing_db.worker, "SELECT period_end FROM subscription")]
    as_of = datetime.fromisoformat(body["as_of"])
    assert found["tier1"] | {"effective_at": datetime.fromisoformat(found["tier1"]["effective_at"])} == {
        "kind": "downgrade",
        "price": "2.00",
        "currency": "EUR",
        "due_now": "0.00",
        "bytes_over": 5 * GB,
        "members_over": None,
        "effective_at": period_end,
        "upgrade_url": None,
    }
    assert (found["basic"]["price"], found["basic"]["currency"], found["basic"]["due_now"]) == ("0.00", "EUR", "0.00")
    up = found["tier4"]
    assert (up["price"], up["due_now"], up["upgrade_url"]) == ("12.00", "8.50", "/app/plans"), (
        "less what is left of tier 2"
    )
    assert datetime.fromisoformat(up["effective_at"]) == as_of
    assert (found["tier2"]["effective_at"], found["tier2"]["upgrade_url"]) == (None, None)
    assert body["used"] == {"bytes": 15 * GB, "position": 7, "as_of": "2026-03-01T00:00:00Z"}
    assert usage.callers == ["service"]


async def test_usage_that_does_not_answer_is_no_failure(billing_db: ServiceDatabase) -> None:
    async with opened(billing_db) as (world, usage):
        team = Team()
        usage.used[team.tenant] = None
        body = await plans(world, team)
        assert body["used"] is None
        assert {code: change["bytes_over"] for code, change in changes(body).items()} == {"free": None, "pro": None}
        assert changes(body)["pro"]["kind"] == "upgrade"


async def test_members_above_the_plan_where_usage_counts_them(billing_db: ServiceDatabase) -> None:
    async with opened(billing_db) as (world, usage):
        team = Team()
        usage.used[team.tenant], usage.members = 0, 3
        found = changes(await plans(world, team))
    assert {code: change["members_over"] for code, change in found.items()} == {"free": 2, "pro": 0}


async def test_prices_as_they_are_asked_for(billing_db: ServiceDatabase) -> None:
    async with opened(billing_db, plan_catalogue="tiers") as (world, usage):
        team = Team()
        shown = {}
        for asked in ("", "?interval=year", "?currency=XOF", "?currency=XOF&interval=year", "?currency=USD"):
            item = next(item for item in (await plans(world, team, asked))["items"] if item["code"] == "tier1")
            shown[asked] = f"{item['price']} {item['currency']} a {item['interval']}"
            assert (item["change"]["price"], item["change"]["currency"]) == (item["price"], item["currency"])
        statuses = [
            (await world.call("GET", f"/api/plans{asked}", who=team.principal))[0]
            for asked in ("?currency=eur", "?interval=week")
        ]
    assert shown == {
        "": "2.00 EUR a month",
        "?interval=year": "20.00 EUR a year",
        "?currency=XOF": "1300 XOF a month",
        "?currency=XOF&interval=year": "1300 XOF a month",
        "?currency=USD": "2.00 EUR a month",
    }
    assert item["prices"] == [
        {"amount": "2.00", "currency": "EUR", "interval": "month"},
        {"amount": "20.00", "currency": "EUR", "interval": "year"},
        {"amount": "1300", "currency": "XOF", "interval": "month"},
    ]
    assert statuses == [422, 422]
    assert len(usage.callers) == 5


async def test_who_belongs_to_no_team_is_told_of_no_change(billing_db: ServiceDatabase) -> None:
    async with opened(billing_db) as (world, usage):
        body = await plans(world, Principal())
    assert changes(body) == {"free": None, "pro": None}
    assert (body["used"], usage.callers) == (None, [])


async def test_the_version_that_was_bought_stays_and_the_newer_one_can_be_had(
    billing_db: ServiceDatabase, tmp_path: Path
) -> None:
    team, other = Team(), Team()
    async with opened(billing_db) as (world, _):
        await subscribe(world, team, "pro")
    newer = put("version: 1", "version: 2")
    plans_now = family(tmp_path, lambda text: newer(text).replace("projects: null", "projects: 9"))
    for with_old_file in (False, True):
        if with_old_file:
            (plans_now / "pro.1.yaml").write_text((DEFAULT / "pro.yaml").read_text())
        async with opened(billing_db, plan_catalogue=str(plans_now)) as (world, _):
            body = await plans(world, team)
            listed = [
                (plan["code"], plan["version"], plan["current"], plan["change"]["kind"]) for plan in body["items"]
            ]
            assert listed == [
                ("free", 1, False, "downgrade"),
                ("pro", 1, True, "same"),
                ("pro", 2, False, "downgrade"),  # at the same price it takes projects away
            ]
            assert [plan["entitlements"]["projects"] for plan in body["items"]] == [2, None, 9]
            assert [plan["version"] for plan in (await plans(world, other))["items"]] == [1, 2]
            assert (await world.subscription(team))["entitlements"]["projects"] is None
    async with opened(billing_db, plan_catalogue=str(plans_now)) as (world, _):
        status, body = await world.initiate(team)
        assert (status, body["code"]) == (409, "nothing_to_pay"), "the month was paid for just now"
        status, body = await world.call("POST", "/api/subscription/change", {"plan": "pro"}, who=team.principal)
        assert (status, body["plan_version"], body["next"]["plan"]) == (200, 1, "pro"), "the newer one follows"


async def test_a_period_that_is_over_is_waited_for_no_more(billing_db: ServiceDatabase) -> None:
    async with opened(billing_db) as (world, _):
        team = Team()
        await subscribe(world, team, "pro")
        past = datetime.now(UTC) - timedelta(days=3)
        await query(billing_db.superuser, "UPDATE subscription SET period_end = $1", past)
        body = await plans(world, team)
    assert changes(body)["free"]["effective_at"] == body["as_of"]


@pytest.mark.parametrize("given", ["intelia", "free"])
async def test_a_plan_given_by_staff_is_left_by_paying(billing_db: ServiceDatabase, given: str) -> None:
    async with opened(billing_db, plan_catalogue="images") as (world, _):
        team = Team()
        await subscribe(world, team, given)
        found = changes(await plans(world, team))
    assert found[given]["kind"] == "same"
    assert (found["pro"]["kind"], found["elite"]["kind"]) == ("upgrade", "upgrade")


async def test_a_free_plan_that_nobody_falls_back_to(billing_db: ServiceDatabase, tmp_path: Path) -> None:
    free_for_friends = (DEFAULT / "free.yaml").read_text().replace("code: free", "code: friends")
    (family(tmp_path) / "friends.yaml").write_text(free_for_friends.replace("default: true\n", ""))
    async with opened(billing_db, plan_catalogue=str(tmp_path)) as (world, _):
        found = changes(await plans(world, Team()))
    assert {code: change["kind"] for code, change in found.items()} == {
        "free": "same", "friends": "none", "pro": "upgrade"
    }  # fmt: skip
    assert found["friends"]["effective_at"] is None


async def test_prices_that_cannot_be_compared(billing_db: ServiceDatabase, tmp_path: Path) -> None:
    """What was bought in another currency is compared by what it gives."""
    team = Team()
    async with opened(billing_db) as (world, _):
        await subscribe(world, team, "pro")
    lakh = put(PRICE, '{ amount: "2", currency: JPY, interval: month }')
    changed = family(tmp_path, lambda text: lakh(text).replace("version: 1", "version: 2").replace("cpu: 4", "cpu: 8"))
    async with opened(billing_db, plan_catalogue=str(changed), currency="JPY") as (world, _):
        (new,) = [plan for plan in (await plans(world, team))["items"] if plan["version"] == 2]
    assert new["change"]["kind"] == "upgrade"
