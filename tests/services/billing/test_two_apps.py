"""Sixty-four at once through two HTTP processes' worth of application, on one database: one of them wins, or ten do."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI

from services.billing.main import create
from services.billing.subscriptions import repository as subscriptions
from shared.security import Principal
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.ads.network import Network
from tests.services.billing.serving import served
from tests.services.billing.world import Team, World, running, settings, told

CLIENTS = 64
_REWARDED = "SELECT count(*) AS views, coalesce(sum(credits), 0) AS credits FROM ad_view WHERE credits > 0"
_AGE = "UPDATE ad_view SET started_at = started_at - interval '31 seconds' WHERE status = 'open'"


class Two:
    """A world and a second application beside its own."""

    def __init__(self, world: World, app: FastAPI, url: str) -> None:
        self.world = world
        self._apps = (world.app, app)
        self._urls = (world.url, url)

    def watch(self) -> list[int]:
        """The versions of subscriptions that either application has read from now on."""
        seen = list[int]()
        for app in self._apps:
            service = app.state.services.subscriptions
            read = service.get

            async def noted(tenant: UUID, read: Any = read) -> Any:
                found = await read(tenant)
                seen.append(found.version)
                return found

            service.get = noted
        return seen

    async def call(self, number: int, method: str, path: str, body: Any = None, *, who: Principal) -> tuple[int, Any]:
        headers = {"stowage-internal": self.world.vouch(who)}
        url = self._urls[number % 2]
        async with self.world.http.request(method, url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def all(self, ask: Callable[[int], Awaitable[tuple[int, Any]]]) -> list[tuple[int, Any]]:
        return await asyncio.gather(*(ask(number) for number in range(CLIENTS)))


@pytest.fixture
async def two(billing_db: ServiceDatabase) -> AsyncIterator[Two]:
    async with running(billing_db) as world:
        app = create(settings(billing_db.app, world.sandbox, world.door.url))
        async with served(app) as other:
            yield Two(world, app, other)


async def test_one_payment_is_open(two: Two) -> None:
    team = Team()
    body = {"plan": "pro", "method": "credit_card"}
    path = f"/api/payments/{team.slug}/initiate"
    answers = await two.all(lambda n: two.call(n, "POST", path, body, who=team.principal))
    assert Counter(status for status, _ in answers) == {201: 1, 409: CLIENTS - 1}
    assert {body["code"] for status, body in answers if status == 409} == {"payment_open"}
    assert len(await query(two.world.dsn.worker, "SELECT 1 FROM payment")) == 1


async def test_one_choice_wins(two: Two) -> None:
    team = Team()
    payment = await two.world.started(team)
    await two.world.callback(told(payment))
    await two.world.until(team, payment, lambda p: p["status"] == "completed")
    body = {"version": (await two.world.subscription(team))["version"]}
    answers = await two.all(lambda n: two.call(n, "POST", "/api/subscription/cancel", body, who=team.principal))
    assert Counter(status for status, _ in answers) == {200: 1, 409: CLIENTS - 1}
    assert {body["code"] for status, body in answers if status == 409} == {"subscription_changed"}
    assert (await two.world.subscription(team))["version"] == body["version"] + 1


@pytest.mark.parametrize("what", ["cancel", "resume", "change"])
async def test_one_choice_wins_where_nobody_says_what_it_saw(two: Two, what: str) -> None:
    """All of them have been asked, and have seen the same, before the first one is carried out."""
    team = Team()
    payment = await two.world.started(team)
    await two.world.callback(told(payment))
    await two.world.until(team, payment, lambda p: p["status"] == "completed")
    before = (await two.world.subscription(team))["version"]
    body = {"plan": "free"} if what == "change" else {}
    path = f"/api/subscription/{what}"
    seen = two.watch()
    async with asyncio.TaskGroup() as group, two.world.core.database.transaction() as connection:
        await subscriptions.hold(connection, team.tenant)
        asked = group.create_task(two.all(lambda n: two.call(n, "POST", path, body, who=team.principal)))
        async with asyncio.timeout(30):
            while len(seen) < CLIENTS:
                await asyncio.sleep(0.01)
        assert (await two.world.subscription(team))["version"] == before, "the others are not kept waiting"
    answers = asked.result()
    assert Counter(status for status, _ in answers) == {200: 1, 409: CLIENTS - 1}
    assert {body["code"] for status, body in answers if status == 409} == {"subscription_changed"}
    assert (await two.world.subscription(team))["version"] == before + 1
    for number in range(3):
        status, body = await two.call(number, "POST", "/api/subscription/cancel", {}, who=team.principal)
        assert (status, body["version"]) == (200, before + 2 + number), "one after the other is fine"


async def test_ten_views_are_rewarded(two: Two) -> None:
    """Everybody starts and completes whatever they can, for as long as anybody can start."""
    who = Team().principal
    for _ in range(14):
        started = await two.all(lambda n: two.call(n, "POST", "/api/credits/ad-views", who=who))
        assert {status for status, _ in started} <= {201, 403}
        await query(two.world.dsn.superuser, _AGE)
        views = [body["ad_view_id"] for status, body in started if status == 201]
        await asyncio.gather(
            *(
                two.call(n, "POST", f"/api/credits/ad-views/{view}/complete", who=who)
                for n, view in enumerate(views * 2)
            )
        )
    ((number, credits_),) = await query(two.world.dsn.superuser, _REWARDED)
    assert (number, credits_) == (10, 20)
    assert (await two.world.call("GET", "/api/credits", who=who))[1]["balance"] == 20
    status, body = await two.world.call("POST", "/api/credits/ad-views", who=who)
    assert (status, body["code"]) == (403, "ad_limit_reached")


async def test_an_ad_from_start_to_the_network_s_word(billing_db: ServiceDatabase, tmp_path: Any) -> None:
    network = Network(tmp_path / "keys.json")
    async with running(billing_db, ad_verification_keys=network.path) as world:
        who = Team().principal
        status, view = await world.call("POST", "/api/credits/ad-views", who=who)
        assert (status, view["rewarded_today"], view["daily_limit"]) == (201, 0, 10)
        await query(billing_db.superuser, _AGE)
        complete = f"/api/credits/ad-views/{view['ad_view_id']}/complete"
        status, done = await world.call("POST", complete, who=who)
        assert (status, done["status"], done["credits"]) == (200, "waiting", None)
        said = network.query(world.core.clock.now(), custom_data=view["custom_data"]).decode()
        verify = f"/api/credits/ad-views/verify?{said}"
        forged = verify.replace("reward_amount=1", "reward_amount=2")
        assert (await world.call("GET", forged, who=Principal()))[0] == 401
        for word in ("verified", "known"):
            assert await world.call("GET", verify, who=Principal()) == (200, {"status": word})
        status, done = await world.call("POST", complete, who=who)
        assert (status, done["status"], done["credits"], done["rewarded_today"]) == (200, "completed", 2, 1)
        stranger = Team(tenant=uuid4()).principal
        assert (await world.call("POST", complete, who=stranger))[0] == 404
