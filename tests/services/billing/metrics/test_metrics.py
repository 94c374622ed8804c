"""A short history, made through the API, and its figures as they are counted by hand."""

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from services.billing.metrics.gauges import MetricGauges
from services.billing.metrics.rules import MethodPayments, Part, preferred
from services.billing.metrics.service import MetricsService
from shared.security import Principal
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.world import SERVICE, Team, World, running

ADMIN = Principal(kind="user", user_id=uuid4(), is_admin=True)
FUNCTIONS = ("metric_conversion", "metric_payments", "metric_churn")


@pytest.fixture
async def tiers(billing_db: ServiceDatabase) -> AsyncIterator[World]:
    """Sold by the month and the year, in EUR and XOF."""
    async with running(billing_db, plan_catalogue="tiers") as world:
        yield world


async def buy(world: World, team: Team, plan: str, how: str = "pay", **changes: Any) -> None:
    status, payment = await world.initiate(team, plan=plan, **changes)
    assert status == 201, payment
    if how == "cancel":
        await world.call("POST", f"/api/payments/{payment['payment_id']}/cancel", who=team.principal)
    elif how != "leave":
        await world.press(payment, how)
        await world.until(team, payment, lambda p: p["status"] in {"completed", "failed"})


async def leave(world: World, team: Team) -> None:
    status, body = await world.call("POST", "/api/subscription/cancel", {"when": "now"}, who=team.principal)
    assert (status, body["plan"]) == (200, "basic")


async def metrics(world: World, since: datetime, to: datetime) -> dict[str, Any]:
    params = f"from={since:%Y-%m-%dT%H:%M:%S.%fZ}&to={to:%Y-%m-%dT%H:%M:%S.%fZ}"
    status, body = await world.call("GET", f"/api/admin/billing/metrics?{params}", who=ADMIN)
    assert status == 200, body
    return dict(body)


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_history_counted_by_hand(tiers: World) -> None:
    world, birth = tiers, now()
    ada, bob, cy, dee, eve, fay, gil, hal, ivy = (Team(slug=name) for name in "abcdefghi")
    mobile: dict[str, Any] = {"method": "mobile_money", "currency": "XOF"}
    # Three teams pay, two are there and do not.
    await buy(world, ada, "tier1", interval="year")
    await buy(world, bob, "tier2", interval="year")
    await buy(world, cy, "tier1", **mobile)
    for team in (dee, hal):
        await world.subscription(team)
    start = now()
    # Dee and Gil pay for the first time; Bob leaves, Cy leaves and comes back; Fay's fails, Eve's is still open.
    for team in (eve, ivy):
        await world.subscription(team)
    await buy(world, dee, "tier1")
    await leave(world, bob)
    await buy(world, fay, "tier1", "fail", **mobile)
    await buy(world, gil, "tier1", "cancel")
    await buy(world, gil, "tier2", **mobile)
    await leave(world, cy)
    await buy(world, cy, "tier1", **mobile)
    status, open_one = await world.initiate(eve, plan="tier4")
    assert status == 201
    end = now()

    found = await metrics(world, start, end)
    assert found["conversion"] == {"candidates": 6, "converted": 2, "percentage": 33.33}, "Dee to Ivy; Dee and Gil"
    assert [list(one.values()) for one in found["payments"]] == [
        # method, completed, failed, cancelled, open, and the success of what is decided
        ["credit_card", 1, 0, 1, 1, 50.0],
        ["mobile_money", 2, 1, 0, 0, 66.67],
    ]
    assert found["preferred_method"] == "mobile_money"
    # 20.00 a year and 2.00 a month are (20.00 + 24.00) / 12; 1300 and 2300 francs a month.
    assert found["recurring"] == [
        {"currency": "EUR", "teams": 2, "amount": "3.67", "minor_units": 367},
        {"currency": "XOF", "teams": 2, "amount": "3600", "minor_units": 3600},
    ]
    assert found["churn"] == {"paying": 3, "lost": 1, "percentage": 33.33}, "Bob, of Ada, Bob and Cy"

    before = await metrics(world, birth, start)
    # (20.00 + 35.00) / 12 is 4.583: rounded once, and not 1.67 + 2.92.
    assert before["recurring"] == [
        {"currency": "EUR", "teams": 2, "amount": "4.58", "minor_units": 458},
        {"currency": "XOF", "teams": 1, "amount": "1300", "minor_units": 1300},
    ]
    assert before["conversion"] == {"candidates": 5, "converted": 3, "percentage": 60.0}
    assert before["churn"] == {"paying": 0, "lost": 0, "percentage": None}
    assert before["preferred_method"] == "credit_card"

    # What comes later changes nothing of the period but what became of its open payment.
    await world.press(open_one)
    await world.until(eve, open_one, lambda p: p["status"] == "completed")
    await leave(world, ada)
    later = await metrics(world, start, end)
    assert later["payments"][0]["completed"] == 2
    assert later["payments"][0]["open"] == 0
    assert {**later, "payments": 0, "preferred_method": 0} == {**found, "payments": 0, "preferred_method": 0}
    assert later["preferred_method"] == "credit_card", "as many completed, more begun"


async def test_gauges_of_the_worker(tiers: World) -> None:
    gauges = MetricGauges(MetricsService(tiers.core.database, tiers.core.clock))

    def shown(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(f"stowage_billing_{name}", labels)

    await gauges.measure()
    assert math.isnan(shown("churn_ratio") or 0.0), "a share of nothing"
    ada, bob = Team(), Team(slug="bob")
    await buy(tiers, ada, "tier1", interval="year")
    await buy(tiers, bob, "tier1", "fail", method="mobile_money")
    await gauges.measure()
    assert (shown("recurring", currency="EUR"), shown("paying_teams", currency="EUR")) == (1.67, 1.0)
    assert shown("conversion_ratio") == 0.5
    assert shown("payment_success_ratio", method="credit_card") == 1.0
    assert shown("payment_success_ratio", method="mobile_money") == 0.0
    assert shown("recent_payments", method="mobile_money", outcome="failed") == 1.0
    assert [shown("preferred_method", method=m) for m in ("credit_card", "mobile_money")] == [1.0, 0.0]
    await leave(tiers, ada)
    await gauges.measure()
    assert shown("recurring", currency="EUR") is None, "nothing stays of who has gone"


async def test_who_may_ask_and_for_what(world: World) -> None:
    path = "/api/admin/billing/metrics"
    for who in (Team().principal, SERVICE, Principal()):
        assert (await world.call("GET", path, who=who))[0] in {401, 403}
    status, body = await world.call("GET", f"{path}?from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:00Z", who=ADMIN)
    assert (status, body["code"]) == (422, "period_invalid")
    status, body = await world.call("GET", path, who=ADMIN)
    assert (status, body["conversion"]["percentage"], body["preferred_method"]) == (200, None, None)
    assert (
        datetime.fromisoformat(body["to"]).timestamp() - datetime.fromisoformat(body["from"]).timestamp() == 30 * 86_400
    )


async def test_the_app_role_learns_nothing_of_a_team(world: World) -> None:
    """Sums over all of them, and its own history; the views are the worker's."""
    mine, theirs = Team(), Team(slug="bob")
    for team in (mine, theirs):
        await world.subscription(team)
    connection: Any = await asyncpg.connect(world.dsn.app)
    try:
        for view in ("subscription_span", "team_conversion", "payment_outcome"):
            await query(world.dsn.worker, f"SELECT 1 FROM {view}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {view}")
        for function in FUNCTIONS:
            rows = await connection.fetch(f"SELECT * FROM {function}('2026-01-01', '2099-01-01')")
            assert all("tenant_id" not in row for row in rows)
        assert await connection.fetch("SELECT 1 FROM subscription_history") == []
        async with connection.transaction():
            await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(mine.tenant))
            rows = await connection.fetch("SELECT tenant_id FROM subscription_history")
            assert [row["tenant_id"] for row in rows] == [mine.tenant]
        for change in ("UPDATE subscription_history SET price = 1", "DELETE FROM subscription_history"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await query(world.dsn.worker, change)
    finally:
        await connection.close()


def test_shares_and_the_preferred_method() -> None:
    assert [Part(part, 3).percentage for part in (0, 1, 2, 3)] == [0.0, 33.33, 66.67, 100.0]
    assert Part(1, 800).percentage == 0.13, "half up"
    assert Part(0, 0).percentage is None
    card, phone = MethodPayments("credit_card", 2, 0, 0, 0), MethodPayments("mobile_money", 2, 1, 0, 0)
    assert preferred([card, phone]) == "mobile_money"
    assert preferred([MethodPayments("credit_card", 2, 1, 0, 0), phone]) == "credit_card"
    assert preferred([MethodPayments("credit_card", 0, 9, 0, 9)]) is None
