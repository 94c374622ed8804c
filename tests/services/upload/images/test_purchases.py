"""One image above the plan's quota for credits: charged exactly for what is stored. Real billing, real upload."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from services.upload.images.purchases.provider import CreditAccount, Hold
from services.upload.main import create
from services.upload.upkeep import Upkeep, open_upkeep
from shared.errors import UpstreamError
from shared.security import Principal
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.services.billing.door import SECRET
from tests.services.billing.world import World
from tests.services.billing.world import running as billing_running
from tests.services.upload.conftest import Upload, serving, settings_for
from tests.services.upload.images.conftest import Photographer, picture
from tests.services.upload.images.test_quota import hang_up
from tests.services.upload.process import running

PICTURE = picture()
BUY = "/api/images/upload?use_credits=true"
ADMIN = Principal(kind="user", user_id=uuid4(), is_admin=True)
STEPS = ("purchase.opened", "purchase.held", "upload.reserved", "upload.placed", "upload.settled", "purchase.ended")


@dataclass
class Shop:
    """Two processes of upload beside a billing of their own. Teams here have one image a month."""

    billing: World
    apps: list[Upload]
    upkeep: Upkeep
    dsn: ServiceDatabase

    async def photographer(self, *, balance: int, limit: int | None = 1, used: int = 1) -> Photographer:
        who = Photographer(self.apps[0], uuid4(), uuid4())
        await who.image_quota()  # the account is there
        await self.query("UPDATE tenant_storage SET images_month = $2 WHERE tenant_id = $1", who.tenant, limit)
        month = "date_trunc('month', now() AT TIME ZONE 'UTC')"
        await self.query(f"INSERT INTO image_month (tenant_id, month, used) SELECT $1, {month}, $2", who.tenant, used)
        if balance:
            body = {"tenant_id": str(who.tenant), "amount": balance, "source": "system_bonus", "description": "Hello"}
            body["client_id"] = uuid4().hex
            status, answer = await self.billing.call("POST", "/api/admin/credits/grants", body, who=ADMIN)
            assert status == 201, answer
        return who

    async def query(self, sql: str, *values: object) -> list[Any]:
        return await query(self.dsn.superuser, sql, *values)

    async def credits(self, tenant: UUID) -> tuple[int, int, int]:
        """Balance, reserved and spent."""
        who = Principal(kind="user", user_id=uuid4(), tenant_id=tenant, tenant_slug="t", role="owner")
        status, told = await self.billing.call("GET", "/api/credits", who=who)
        assert status == 200, told
        return told["balance"], told["reserved"], told["spent"]

    async def images(self, tenant: UUID) -> tuple[int, int]:
        """Counted as used, and as bought."""
        rows = await self.query("SELECT sum(used) AS n, sum(bought) AS b FROM image_month WHERE tenant_id = $1", tenant)
        return int(rows[0]["n"]), int(rows[0]["b"])

    async def files(self, tenant: UUID) -> int:
        return len(await self.query("SELECT FROM stored_file WHERE tenant_id = $1", tenant))

    async def later(self) -> None:
        """A day: what died is given up, and the job does what it has to."""
        await self.query("UPDATE reservation SET expires_at = now() - interval '1 second'")
        await self.query("UPDATE image_purchase SET created_at = created_at - interval '1 day', due_at = now()")
        for job in ("reservations", "purchases"):
            await self.upkeep.jobs.run(job)


@pytest.fixture
async def shop(pg: PostgresServer, tmp_path: Path) -> AsyncIterator[Shop]:
    dsn, root = pg.create("upload"), tmp_path / "store"
    async with billing_running(pg.create("billing")) as billing, aiohttp.ClientSession() as http:
        all_settings = [
            settings_for(dsn.app, root, billing.url, internal_secret=SECRET, idle_seconds=30.0) for _ in range(2)
        ]
        first, second = (create(settings) for settings in all_settings)
        async for _ in serving(first, all_settings[0]):
            async for _ in serving(second, all_settings[1]):
                apps = [
                    Upload(settings.base_url, app, dsn, root, settings, http)
                    for settings, app in zip(all_settings, (first, second), strict=True)
                ]
                async with open_upkeep(settings_for(dsn.worker, root, billing.url, internal_secret=SECRET)) as upkeep:
                    yield Shop(billing, apps, upkeep, dsn)


async def test_bought_only_when_asked_for(shop: Shop) -> None:
    who = await shop.photographer(balance=3)
    info = {"plan_name": "free", "quota_limit": 1, "quota_used": 1, "quota_remaining": 0}
    offer = {"price": 1, "balance": 3}
    status, answer = await who.send(PICTURE)
    assert (status, answer["code"], answer["quota_info"]) == (403, "IMAGE_QUOTA_EXCEEDED", info)
    assert (answer["credits"], answer["upgrade_url"]) == (offer, "/app/plans")
    assert await who.image_quota() == {
        "can_upload": False,
        "quota_info": info,
        "message_code": "IMAGE_QUOTA_EXCEEDED",
        "credits": offer,
    }
    assert (await shop.files(who.tenant), await shop.credits(who.tenant)) == (0, (3, 0, 0))

    status, made = await who.send(PICTURE, path=BUY)
    assert (status, made["message_code"]) == (201, "IMAGE_QUOTA_REMAINING")
    assert made["quota_info"] == info | {"quota_used": 2, "bought": 1}
    assert await shop.credits(who.tenant) == (2, 0, 1)
    assert await shop.images(who.tenant) == (2, 1)
    assert (await who.image_quota())["quota_info"] == info | {"quota_used": 2, "bought": 1}
    rows = await query(shop.billing.dsn.superuser, "SELECT key, use FROM credit_transaction WHERE type = 'reserve'")
    assert [(row["key"], row["use"]) for row in rows] == [(f"reserve:{made['image_id']}", "image")]
    assert not await shop.query("SELECT FROM image_purchase")
    assert not await shop.query("SELECT FROM reservation")


async def test_what_is_left_of_the_plan_is_not_paid_for(shop: Shop) -> None:
    who = await shop.photographer(balance=1, used=0)
    statuses = [await who.send(PICTURE, path=BUY) for _ in range(3)]
    assert [status for status, _ in statuses] == [201, 201, 403]
    assert statuses[2][1]["credits"] == {"price": 1, "balance": 0}
    assert await shop.credits(who.tenant) == (0, 0, 1)
    assert await shop.images(who.tenant) == (2, 1)


async def test_a_plan_without_images_gets_none_for_credits(shop: Shop) -> None:
    who = await shop.photographer(balance=3, limit=0, used=0)
    status, answer = await who.send(PICTURE, path=BUY)
    assert (status, answer["code"]) == (403, "IMAGE_QUOTA_PLAN_NOT_ALLOWED")
    assert "credits" not in answer
    assert await shop.credits(who.tenant) == (3, 0, 0)


async def test_sixty_four_at_once_and_credits_for_one(shop: Shop) -> None:
    one = await shop.photographer(balance=1)
    everybody = [Photographer(shop.apps[number % 2], one.tenant, uuid4()) for number in range(64)]
    answers = await asyncio.gather(*(who.send(PICTURE, path=BUY) for who in everybody))
    refused = [answer for status, answer in answers if status == 403]
    assert [status for status, _ in answers].count(201) == 1
    assert len(refused) == 63
    assert {answer["code"] for answer in refused} == {"IMAGE_QUOTA_EXCEEDED"}
    assert await shop.credits(one.tenant) == (0, 0, 1)
    assert await shop.images(one.tenant) == (2, 1)
    assert await shop.files(one.tenant) == 1
    await shop.later()
    assert not await shop.query("SELECT FROM image_purchase")
    assert await shop.credits(one.tenant) == (0, 0, 1)


async def test_what_fails_gives_the_credits_back(shop: Shop) -> None:
    who = await shop.photographer(balance=1)
    status, answer = await who.send(b"<html>no picture at all</html>" * 1000, path=BUY)
    assert (status, answer["code"]) == (415, "type_not_allowed")
    assert await shop.credits(who.tenant) == (1, 0, 0)
    status, answer = await who.send(PICTURE, {"category": "unheard of"}, path=BUY)
    assert (status, answer["code"]) == (422, "unknown_category")
    await hang_up(who, held=lambda: shop.query("SELECT FROM reservation WHERE image_paid"), path=BUY)
    async with asyncio.timeout(10):
        while await shop.query("SELECT FROM image_purchase"):
            await asyncio.sleep(0.02)
    assert await shop.credits(who.tenant) == (1, 0, 0)
    assert not await shop.query("SELECT FROM reservation")
    assert (await who.send(PICTURE, path=BUY))[0] == 201


async def test_a_repeat_is_charged_once(shop: Shop) -> None:
    who = await shop.photographer(balance=4)
    key = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(who.send(PICTURE, headers=key, path=BUY) for _ in range(4)))
    assert (await who.send(PICTURE, headers=key, path=BUY))[0] == 201
    assert len({answer["image_id"] for status, answer in answers if status == 201}) == 1
    assert await shop.credits(who.tenant) == (3, 0, 1)
    assert await shop.images(who.tenant) == (2, 1)


async def test_without_billing_it_is_refused_as_ever(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    who = await shop.photographer(balance=3)
    services = shop.apps[0].app.state.services
    monkeypatch.setattr(services.image_quota._credit._billing, "_base", "http://127.0.0.1:1")
    status, answer = await who.send(PICTURE, path=BUY)
    info = {"plan_name": "free", "quota_limit": 1, "quota_used": 1, "quota_remaining": 0}
    assert (status, answer["code"], answer["quota_info"]) == (403, "IMAGE_QUOTA_EXCEEDED", info)
    assert "credits" not in answer
    quota = await who.image_quota()
    assert quota == {"can_upload": False, "quota_info": info, "message_code": "IMAGE_QUOTA_EXCEEDED"}
    monkeypatch.undo()
    await shop.later()  # the question may have been heard
    assert await shop.credits(who.tenant) == (3, 0, 0)
    assert await shop.files(who.tenant) == 0


async def test_billing_goes_away_before_it_is_settled(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unheard(*_: object) -> None:
        raise UpstreamError(503, "unreachable", "billing")

    who = await shop.photographer(balance=2)
    with monkeypatch.context() as away:
        away.setattr(CreditAccount, "settle", unheard)
        assert (await who.send(PICTURE, path=BUY))[0] == 201
        await shop.later()
    assert await shop.credits(who.tenant) == (1, 1, 0)
    assert [r["attempts"] for r in await shop.query("SELECT attempts FROM image_purchase")] == [1]
    await shop.later()
    assert await shop.credits(who.tenant) == (1, 0, 1)
    assert not await shop.query("SELECT FROM image_purchase")


async def test_what_billing_gave_back_too_early_is_charged_all_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unheard(*_: object) -> None:
        raise UpstreamError(503, "unreachable", "billing")

    who = await shop.photographer(balance=1)
    with monkeypatch.context() as away:
        away.setattr(CreditAccount, "settle", unheard)
        assert (await who.send(PICTURE, path=BUY))[0] == 201
    await query(
        shop.billing.dsn.superuser,
        "UPDATE credit_reservation SET expires_at = created_at WHERE tenant_id = $1",
        who.tenant,
    )
    assert await shop.credits(who.tenant) == (1, 0, 0)
    for _ in range(2):
        await shop.later()
    assert await shop.credits(who.tenant) == (0, 0, 1)


async def test_an_answer_that_comes_too_late_buys_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stood still until its purchase was given up: it finds no place above the quota."""
    hold = CreditAccount.hold

    async def slow(self: CreditAccount, tenant: UUID, upload: UUID) -> Hold:
        held = await hold(self, tenant, upload)
        monkeypatch.setattr(CreditAccount, "hold", hold)
        await shop.later()
        return held

    who = await shop.photographer(balance=1)
    monkeypatch.setattr(CreditAccount, "hold", slow)
    status, answer = await who.send(PICTURE, path=BUY)
    assert (status, answer["code"]) == (403, "IMAGE_QUOTA_EXCEEDED")
    assert await shop.credits(who.tenant) == (1, 0, 0)
    assert (await shop.images(who.tenant), await shop.files(who.tenant)) == ((1, 0), 0)


@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_every_step(shop: Shop, step: str) -> None:
    """An image and its charge, or neither."""
    who = await shop.photographer(balance=2)
    settings = settings_for(shop.dsn.app, shop.apps[0].root, shop.billing.url, internal_secret=SECRET)
    async with aiohttp.ClientSession() as http, running(settings, http, FAULT=step) as process:
        apart = Photographer(
            Upload(process.url, shop.apps[0].app, shop.dsn, shop.apps[0].root, settings, http), who.tenant, who.user
        )
        with pytest.raises(aiohttp.ClientError):
            await apart.send(PICTURE, path=BUY)
        assert await asyncio.to_thread(process.popen.wait, 10) == -9
    for _ in range(2):
        await shop.later()
    stored = await shop.files(who.tenant)
    assert stored == (step in {"upload.settled", "purchase.ended"})
    assert await shop.credits(who.tenant) == (2 - stored, 0, stored)
    assert await shop.images(who.tenant) == (1 + stored, stored)
    assert not await shop.query("SELECT FROM image_purchase UNION ALL SELECT FROM reservation")
