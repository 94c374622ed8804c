"""Asking for a payment: once at a time, at the catalogue's price, whatever the provider answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from services.billing.payments.repository import lock_slot
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.catalogue.family import PRICE, family, put
from tests.services.billing.world import Team, World, running, told


async def test_two_upgrades_at_once_are_one_payment(world: World) -> None:
    team = Team()
    await world.subscription(team)
    answers = await asyncio.gather(*[world.initiate(team) for _ in range(8)])
    assert sorted(status for status, _ in answers) == [201, *[409] * 7]
    (payment,) = [body for status, body in answers if status == 201]
    for status, body in answers:
        if status == 409:
            assert body["code"] == "payment_open"
            assert (body["payment_id"], body["payment_url"]) == (payment["payment_id"], payment["payment_url"])
    rows = await query(world.dsn.worker, "SELECT 1 FROM payment WHERE tenant_id = $1", team.tenant)
    assert len(rows) == 1


async def test_the_price_is_made_when_nothing_is_being_settled(billing_db: ServiceDatabase) -> None:
    """While it waits its turn the team gets Tier 2 (3.50): Tier 4 (12.00) is asked for less what is left of that."""
    async with running(billing_db, plan_catalogue="tiers") as world:
        team, core = Team(), world.core
        await world.subscription(team)
        async with core.database.transaction() as connection:
            await lock_slot(connection, team.tenant, "plan")
            asked = asyncio.create_task(world.initiate(team, plan="tier4"))
            await asyncio.sleep(0.3)
            plan = core.catalogue.plans["tier2"]
            await core.subscriptions.change(connection, team.tenant, plan, plan.price_in("EUR"))
        status, payment = await asked
        assert (status, payment["amount"]) == (201, "8.50")


async def test_what_is_left_is_not_lost_to_another_currency(billing_db: ServiceDatabase) -> None:
    async with running(billing_db, plan_catalogue="tiers") as world:
        team = Team()
        _, payment = await world.initiate(team, plan="tier1", currency="EUR")
        await world.press(payment)
        await world.until(team, payment, lambda seen: seen["status"] == "completed")
        status, body = await world.initiate(team, plan="tier2", currency="XOF")
        assert (status, body["code"], body["currency"]) == (409, "other_currency", "EUR")
        status, body = await world.initiate(team, plan="tier2", currency="EUR")
        assert (status, body["currency"]) == (201, "EUR")


async def test_nobody_pays_for_what_they_have(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await world.callback(told(payment))
    # While it is being completed, further ones are tried without a pause.
    async with asyncio.timeout(10):
        while (answer := await world.initiate(team))[1]["code"] == "payment_open":
            pass
    assert (answer[0], answer[1]["code"]) == (409, "already_on_plan")
    assert len((await world.call("GET", "/api/payments/ada/history", who=team.principal))[1]["items"]) == 1


async def test_a_plan_that_is_not_public_is_neither_listed_nor_sold(
    billing_db: ServiceDatabase, tmp_path: Path
) -> None:
    """Whatever price it has."""
    plans = family(tmp_path, put("name: Pro", "name: Pro\npublic: false"))
    async with running(billing_db, plan_catalogue=str(plans)) as world:
        status, body = await world.initiate(Team())
        assert (status, body["code"]) == (422, "plan_not_found")
        _, body = await world.call("GET", "/api/plans", who=Team().principal)
        assert [plan["code"] for plan in body["items"]] == ["free"]


async def test_a_year_in_another_currency(billing_db: ServiceDatabase, tmp_path: Path) -> None:
    """What was paid for is what is had, for as long as was paid."""
    more = '{ amount: "30.00", currency: EUR, interval: year }\n  - { amount: "4000", currency: JPY, interval: year }'
    plans = family(tmp_path, put(PRICE, f"{PRICE}\n  - {more}"))
    async with running(billing_db, plan_catalogue=str(plans)) as world:
        team, by_month = Team(), Team()
        status, payment = await world.initiate(team, currency="JPY", interval="month")
        assert (status, payment["code"]) == (422, "price_not_found")
        status, payment = await world.initiate(team, currency="JPY")
        assert (status, payment["amount"], payment["currency"]) == (201, "4000", "JPY")
        await world.callback(told(payment, amount="4000", currency="JPY"))
        await world.until(team, payment, lambda p: p["status"] == "completed")
        payment = await world.started(by_month)
        await world.callback(told(payment))
        await world.until(by_month, payment, lambda p: p["status"] == "completed")
        for who, days in ((team, {365, 366}), (by_month, {28, 29, 30, 31})):
            rows = await query(
                billing_db.worker,
                "SELECT period_end - started_at AS t FROM subscription WHERE tenant_id = $1",
                who.tenant,
            )
            assert rows[0]["t"].days in days


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"currency": "USD"}, "price_not_found"),
        ({"interval": "year"}, "price_not_found"),
        ({"currency": "eur"}, "invalid_request"),
        ({"interval": "week"}, "invalid_request"),
        ({"plan": "free"}, "plan_not_found"),
        ({"plan": "gold"}, "plan_not_found"),
        ({"method": "cash"}, "invalid_request"),
        ({"return_url": "https://elsewhere.example/app"}, "foreign_return_url"),
        ({"return_url": "{site}.elsewhere.example/"}, "foreign_return_url"),
        ({"return_url": "{site}@elsewhere.example/"}, "foreign_return_url"),
        ({"return_url": "javascript:alert(1)"}, "foreign_return_url"),
        ({"return_url": "/app\r\nx: y"}, "invalid_request"),
    ],
)
async def test_refused(world: World, changes: dict[str, str], code: str) -> None:
    changes = {name: value.replace("{site}", world.door.url) for name, value in changes.items()}
    status, body = await world.initiate(Team(), **changes)
    assert (status, body["code"]) == (422, code)


async def test_back_to_this_site(world: World) -> None:
    for wanted in ("/app/plans?x=1", f"{world.door.url}/app/plans?x=1"):
        status, payment = await world.initiate(Team(), return_url=wanted)
        assert status == 201
        async with world.http.post(payment["payment_url"], data={"action": "pay"}, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["location"]) == (303, f"{world.door.url}/app/plans?x=1")


async def test_cancel(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    path = f"/api/payments/{payment['payment_id']}/cancel"
    status, body = await world.call("POST", path, who=team.principal)
    assert (status, body["status"]) == (200, "cancelled")
    status, body = await world.call("POST", path, who=team.principal)
    assert (status, body["code"]) == (409, "payment_not_open")
    assert (await world.initiate(team))[0] == 201


async def test_cancelling_what_is_paid_already(world: World) -> None:
    """The provider has the money and its callback is lost: its truth wins."""
    team = Team()
    payment = await world.started(team)
    await world.behave(never=True)
    await world.press(payment)
    status, body = await world.call("POST", f"/api/payments/{payment['payment_id']}/cancel", who=team.principal)
    assert (status, body["status"]) == (200, "completed")
    assert (await world.subscription(team))["plan"] == "pro"


class Backend:
    """A provider that does as it is told: `answer` is what its next calls give."""

    def __init__(self) -> None:
        self.url = ""
        self.orders: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.before_answer: Any = None
        self.status = 201
        self.silent = False

    async def initiate(self, request: web.Request) -> web.Response:
        order = await request.json()
        self.orders.append(order)
        self.keys.append(request.headers.get("Idempotency-Key"))
        if self.before_answer is not None:
            await self.before_answer(order)
        if self.silent:
            await asyncio.sleep(3)
        ours = {
            "external_payment_id": f"ext-{order['payment_id']}",
            "payment_url": "http://127.0.0.1/pay",
            "qr_code": 1,
        }
        return web.json_response(ours, status=self.status)


@asynccontextmanager
async def backend() -> AsyncIterator[Backend]:
    made = Backend()
    app = web.Application()
    app.router.add_post("/api/v1/payments/initiate", made.initiate)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_the_order_as_the_provider_gets_it(billing_db: ServiceDatabase) -> None:
    async with backend() as provider, running(billing_db, backend=provider.url) as world:
        payment = await world.started(Team())
        (order,) = provider.orders
        assert provider.keys == [payment["payment_id"]] == [order["payment_id"]]
        assert (order["amount"], order["currency"], order["team"]) == ("3.00", "EUR", "ada")
        assert order["callback_url"] == f"{world.door.url}/api/payments/callback"
        assert order["metadata"] == {"plan": "pro", "plan_version": "1", "interval": "month"}
        assert payment["qr_code"].startswith("data:image/svg+xml"), "ours, where the provider's is none"


async def test_pending_is_committed_before_the_provider_hears_of_it(billing_db: ServiceDatabase) -> None:
    async with backend() as provider, running(billing_db, backend=provider.url) as world:
        seen = []

        async def look(order: dict[str, Any]) -> None:
            seen.append((await query(billing_db.worker, "SELECT id, status FROM payment"))[0]["status"])
            assert order

        provider.before_answer = look
        await world.started(Team())
        assert seen == ["pending"]


async def test_the_callback_comes_before_the_answer(billing_db: ServiceDatabase) -> None:
    async with backend() as provider, running(billing_db, backend=provider.url) as world:
        team = Team()

        async def pay_at_once(order: dict[str, Any]) -> None:
            ids = {"payment_id": order["payment_id"], "external_payment_id": f"ext-{order['payment_id']}"}
            assert (await world.callback(told(ids)))[0] == 202
            await world.until(team, ids, lambda p: p["status"] == "completed")

        provider.before_answer = pay_at_once
        payment = await world.started(team)
        assert payment["status"] == "completed"
        assert (await world.subscription(team))["version"] == 2


async def test_a_timeout_is_not_a_failure(billing_db: ServiceDatabase) -> None:
    async with backend() as provider, running(billing_db, backend=provider.url) as world:
        team = Team()
        provider.silent = True
        status, body = await world.initiate(team)
        assert (status, body["code"]) == (503, "provider_unavailable")
        lost = {"payment_id": body["payment_id"], "external_payment_id": f"ext-{body['payment_id']}"}
        assert (await world.status(team, lost))["status"] == "pending"
        provider.silent = False
        status, body = await world.initiate(team)
        assert (status, body["code"], body["payment_id"]) == (409, "payment_open", lost["payment_id"])
        assert body["payment_url"] == "http://127.0.0.1/pay", "asked for again, under the same key"
        assert provider.keys == [lost["payment_id"]] * 2
        await world.callback(told(lost))
        await world.until(team, lost, lambda p: p["status"] == "completed")


@pytest.mark.parametrize(
    ("answer", "becomes"), [(500, "pending"), (429, "pending"), (401, "pending"), (400, "failed"), (422, "failed")]
)
async def test_a_provider_that_refuses(billing_db: ServiceDatabase, answer: int, becomes: str) -> None:
    async with backend() as provider, running(billing_db, backend=provider.url) as world:
        team = Team()
        provider.status = answer
        status, body = await world.initiate(team)
        assert (status, body["code"]) == (503, "provider_unavailable")
        assert (await world.status(team, body))["status"] == becomes


async def test_foreign_and_unknown_are_the_same(world: World) -> None:
    payment = await world.started(Team())
    stranger = Team(slug="eve")
    for payment_id in (payment["payment_id"], str(uuid4())):
        for method, what in (("GET", "status"), ("POST", "cancel")):
            status, body = await world.call(method, f"/api/payments/{payment_id}/{what}", who=stranger.principal)
            assert (status, body["code"]) == (404, "payment_not_found")
