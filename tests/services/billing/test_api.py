"""Plans, subscription, history and the internal routes, as the gateway and the sister services meet them."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.security import Principal
from tests.fixtures.postgres import query
from tests.services.billing.world import SERVICE, Team, World, told

FREE = {
    "teams": 1,
    "members": 1,
    "projects": 2,
    "cpu": 0.3,
    "memory_bytes": 104857600,
    "traffic_bytes_month": 5368709120,
    "storage_bytes": 104857600,
    "images_month": None,
    "max_file_bytes": None,
    "custom_domains": False,
    "allowed_types": None,
    "trash_days": 0,
    "isolation": "shared",
}
PRO = {
    "teams": None,
    "members": None,
    "projects": None,
    "cpu": 4,
    "memory_bytes": 6442450944,
    "traffic_bytes_month": 10737418240,
    "storage_bytes": 10737418240,
    "images_month": None,
    "max_file_bytes": None,
    "custom_domains": True,
    "allowed_types": None,
    "trash_days": 0,
    "isolation": "shared",
}


async def test_plans_for_everybody(world: World) -> None:
    status, body = await world.call("GET", "/api/plans", who=Principal())
    assert status == 200
    free, pro = body["items"]
    assert (free["code"], free["price"], free["currency"], free["interval"]) == ("free", None, None, None)
    assert (pro["code"], pro["price"], pro["currency"], pro["interval"]) == ("pro", "3.00", "EUR", "month")
    assert (free["entitlements"], pro["entitlements"]) == (FREE, PRO)
    assert not free["current"]
    assert not pro["current"]


async def test_plans_for_a_team_mark_its_own(world: World) -> None:
    _, body = await world.call("GET", "/api/plans", who=Team().principal)
    assert [(plan["code"], plan["current"]) for plan in body["items"]] == [("free", True), ("pro", False)]


async def test_a_new_team_has_the_free_plan_at_once_and_once(world: World) -> None:
    tenant = uuid4()
    path = f"/internal/entitlements/{tenant}"
    answers = await asyncio.gather(*[world.call("GET", path, who=SERVICE) for _ in range(8)])
    expected = {"version": 1, "plan": "free", "plan_version": 1, "entitlements": FREE}
    assert answers == [(200, expected)] * 8
    rows = await query(world.dsn.worker, "SELECT type, seq FROM outbox_event WHERE tenant_id = $1", tenant)
    assert [tuple(row) for row in rows] == [("entitlements.changed", 1)]


async def test_a_paid_month(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await world.callback(told(payment))
    await world.until(team, payment, lambda p: p["status"] == "completed")
    body = await world.subscription(team)
    assert (body["plan"], body["status"], body["entitlements"]) == ("pro", "active", PRO)
    assert body["current_period_end"] is not None


async def test_history_in_pages(world: World) -> None:
    team = Team()
    expected: list[str] = []
    for _ in range(3):
        payment = await world.started(team)
        expected.insert(0, payment["payment_id"])
        await world.call("POST", f"/api/payments/{payment['payment_id']}/cancel", who=team.principal)
    seen, cursor = [], ""
    for _ in range(3):
        status, page = await world.call("GET", f"/api/payments/ada/history?limit=1{cursor}", who=team.principal)
        assert status == 200
        seen += [item["payment_id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert (seen, page["next_cursor"]) == (expected, None)
    status, body = await world.call("GET", "/api/payments/ada/history?cursor=W10", who=team.principal)
    assert (status, body["code"]) == (422, "invalid_cursor")


async def test_somebody_elses_team_does_not_exist(world: World) -> None:
    await world.started(Team())
    eve = Team(slug="eve")
    body = {"plan": "pro", "method": "credit_card"}
    for method, path, sent in [
        ("POST", "/api/payments/ada/initiate", body),
        ("GET", "/api/payments/ada/history", None),
        ("GET", "/api/payments/nobody/history", None),
    ]:
        status, answer = await world.call(method, path, sent, who=eve.principal)
        assert (status, answer["code"]) == (404, "team_not_found")
    same_slug = Team()
    _, page = await world.call("GET", "/api/payments/ada/history", who=same_slug.principal)
    assert page["items"] == []


async def test_members_look_and_do_not_pay(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    member = Team(tenant=team.tenant, role="member")
    status, body = await world.initiate(member)
    assert (status, body["code"]) == (403, "manager_required")
    status, body = await world.call("POST", f"/api/payments/{payment['payment_id']}/cancel", who=member.principal)
    assert (status, body["code"]) == (403, "manager_required")
    assert (await world.status(member, payment))["status"] == "pending"
    admin = Team(tenant=team.tenant, role="admin")
    assert (await world.initiate(admin))[1]["code"] == "payment_open"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/subscription"),
        ("GET", "/api/payments/ada/history"),
        ("POST", "/api/payments/ada/initiate"),
        ("GET", f"/api/payments/{UUID(int=1)}/status"),
        ("POST", f"/api/payments/{UUID(int=1)}/cancel"),
        ("GET", f"/internal/entitlements/{UUID(int=1)}"),
        ("GET", f"/internal/outbox/billing.v1/{UUID(int=1)}"),
    ],
)
async def test_nobody_gets_in(world: World, method: str, path: str) -> None:
    async with world.http.request(method, world.url + path) as answer:
        assert answer.status == 401
    body: Any = {"plan": "pro", "method": "credit_card"} if method == "POST" else None
    assert (await world.call(method, path, body, who=Principal()))[0] == (404 if "internal" in path else 401)
    if "internal" in path:
        assert (await world.call(method, path, body, who=Team().principal))[0] == 404


async def test_the_streams_can_be_fetched_by_services(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await world.press(payment, "fail")
    await world.until(team, payment, lambda p: p["status"] == "failed")
    _, body = await world.call("GET", f"/internal/outbox/billing.v1/{team.tenant}?after=0", who=SERVICE)
    assert [item["type"] for item in body["items"]] == ["payment.failed"]


async def test_health(world: World) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        async with world.http.get(world.url + path) as answer:
            assert answer.status == 200


async def test_the_storage_plan_and_its_upgrade(world: World) -> None:
    team = Team()
    status, body = await world.call("GET", "/api/user/storage-plan", who=team.principal)
    assert (status, body["plan"], body["storage_limit"], body["storage_limit_formatted"], body["price"]) == (
        *(200, "free", 104_857_600, "100 MB", None),
    )
    status, payment = await world.call("POST", "/api/user/upgrade-plan", {"plan": "pro"}, who=team.principal)
    assert (status, payment["amount"], payment["currency"]) == (201, "3.00", "EUR")
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    _, body = await world.call("GET", "/api/user/storage-plan", who=team.principal)
    assert (body["plan"], body["storage_limit_formatted"], body["price"], body["interval"]) == (
        *("pro", "10 GB", "3.00", "month"),
    )
    member = Team(tenant=team.tenant, role="member")
    status, body = await world.call("POST", "/api/user/upgrade-plan", {"plan": "pro"}, who=member.principal)
    assert (status, body["code"]) == (403, "manager_required")
