"""What a plan says of images, types and trash is what upload holds its tenants to. Real billing, real upload."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import FormData

from services.billing.catalogue.loader import DEFAULT
from services.upload.entitlements.handlers import on_entitlements
from services.upload.main import create
from services.upload.quota.service import AccountService
from services.upload.settings import Settings
from shared.db import Database
from shared.events import decode
from shared.kafka import Record
from shared.security import Principal, sign
from tests.fixtures.postgres import PostgresServer, query
from tests.services.billing.door import SECRET
from tests.services.billing.plans.test_offers import Usage, stands_for
from tests.services.billing.serving import served
from tests.services.billing.world import Team, World, running, told
from tests.services.upload.images.conftest import form, picture

MONTH = date(2026, 3, 1)
PICTURE = picture(size=(16, 12))
GB = 1024**3
STORAGE = {  # S0.6, S1.4
    "tiers": {"basic": 5 * GB, "tier1": 10 * GB, "tier2": 20 * GB, "tier3": 50 * GB, "tier4": 100 * GB},
    "business": {"starter": 5368709120, "professional": 53687091200, "business": 107374182400, "enterprise": None},
}
IMAGES = {"essential": 0, "pro": 50, "elite": None, "intelia": None, "free": 0}  # S2.1


def catalogue(folder: Path) -> Path:
    """The default family, with a Pro that says of types and trash what it takes."""
    for source in DEFAULT.glob("*.yaml"):
        more = "  allowed_types: [image/*, application/pdf]\n  trash_days: 30\n" if source.stem == "pro" else ""
        (folder / source.name).write_text(source.read_text() + more)
    return folder


@dataclass
class Both:
    billing: World
    url: str
    accounts: AccountService
    worker: Database

    async def subscribe(self, tenant: UUID, plan: str) -> None:
        core = self.billing.core
        async with core.database.transaction() as connection:
            await core.subscriptions.change(connection, tenant, core.catalogue.plans[plan])

    async def deliver(self, tenant: UUID) -> None:
        """What billing wrote into its outbox, to upload's handler."""
        rows = await query(
            self.billing.dsn.superuser,
            "SELECT * FROM outbox_event WHERE topic = 'entitlements.v1' AND tenant_id = $1 ORDER BY seq",
            tenant,
        )
        records = [
            Record(r["topic"], tenant, r["seq"], r["type"], b"", {}, None, event=decode(r["type"], r["body"]))
            for r in rows
        ]
        async with self.worker.transaction() as connection:
            await on_entitlements(connection, records)

    async def admitted(self, tenant: UUID, images: int) -> int:
        """Of so many at once."""
        hour = timedelta(hours=1)
        asked = (self.accounts.hold(tenant, uuid4(), 1, hour, MONTH) for _ in range(images))
        return sum(result.ok for result in await asyncio.gather(*asked))

    def vouch(self, tenant: UUID) -> dict[str, str]:
        who = Principal(kind="user", user_id=uuid4(), tenant_id=tenant, tenant_slug="t", role="owner")
        return {"stowage-internal": sign(who, secret=SECRET, audience="upload", issuer="gateway")}

    async def upload(self, tenant: UUID, size: int) -> tuple[int, Any]:
        body = FormData({"category": "documents"})
        body.add_field("file", b"x" * size, filename="a.txt", content_type="text/plain")
        return await self.call(tenant, "POST", "/api/storage/upload", body)

    async def content(self, tenant: UUID, file: str) -> tuple[int, bytes]:
        url = f"{self.url}/api/storage/files/{file}/content"
        async with self.billing.http.get(url, headers=self.vouch(tenant)) as answer:
            return answer.status, await answer.read()

    async def delete(self, tenant: UUID, file: str) -> int:
        url = f"{self.url}/api/storage/files/{file}"
        async with self.billing.http.delete(url, headers=self.vouch(tenant)) as answer:
            return answer.status

    async def call(self, tenant: UUID, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = self.vouch(tenant)
        async with self.billing.http.request(method, self.url + path, data=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def send(self, tenant: UUID) -> tuple[int, Any]:
        return await self.call(tenant, "POST", "/api/images/upload", form(PICTURE, {}))


@asynccontextmanager
async def opened(pg: PostgresServer, store: Path, **changes: Any) -> AsyncIterator[Both]:
    """`changes` are billing's settings."""
    dsn = pg.create("upload")
    async with running(pg.create("billing"), **changes) as billing, Database(dsn.worker) as worker:
        app = create(
            Settings(
                mode="local",
                database_url=dsn.app,
                kafka_bootstrap="",
                internal_secret=SECRET,
                base_url="http://upload",
                billing_url=billing.url,
                local_storage_path=store,
                signing_secret="k" * 40,
            )
        )
        async with served(app) as url:
            yield Both(billing, url, app.state.services.accounts, worker)


@pytest.fixture
async def both(pg: PostgresServer, tmp_path: Path) -> AsyncIterator[Both]:
    async with opened(pg, tmp_path / "store", plan_catalogue="images") as found:
        yield found


async def test_a_new_plan_is_kept_to_at_once(both: Both) -> None:
    tenant = uuid4()
    assert await both.admitted(tenant, 3) == 0, "a new team is on Essential, which is told when it is asked for"
    await both.subscribe(tenant, "pro")
    await both.deliver(tenant)
    assert await both.admitted(tenant, 60) == 50
    await both.subscribe(tenant, "elite")
    await both.deliver(tenant)
    assert await both.admitted(tenant, 60) == 60


@pytest.mark.parametrize("plan", IMAGES)
async def test_images_of_a_month_are_the_plans(both: Both, plan: str) -> None:
    tenant, limit = uuid4(), IMAGES[plan]
    await both.subscribe(tenant, plan)
    info = {"plan_name": plan, "quota_limit": limit, "quota_used": 0, "quota_remaining": limit}
    assert (await both.call(tenant, "GET", "/api/images/quota"))[1]["quota_info"] == info
    for used in range(1, (51 if limit is None else limit) + 1):
        status, answer = await both.send(tenant)
        assert status == 201, answer
        left = None if limit is None else limit - used
        info = {"plan_name": plan, "quota_limit": limit, "quota_used": used, "quota_remaining": left}
        assert answer["quota_info"] == info
    if limit is not None:
        status, answer = await both.send(tenant)
        code = "IMAGE_QUOTA_EXCEEDED" if limit else "IMAGE_QUOTA_PLAN_NOT_ALLOWED"
        assert (status, answer["code"], answer["quota_info"]) == (403, code, info)


@pytest.mark.parametrize(("family", "storage"), STORAGE.items())
async def test_storage_of_every_family_is_the_plans(
    pg: PostgresServer, tmp_path: Path, family: str, storage: dict[str, int | None]
) -> None:
    async with opened(pg, tmp_path / "store", plan_catalogue=family) as both:
        for plan, limit in storage.items():
            tenant = uuid4()
            await both.subscribe(tenant, plan)
            await both.deliver(tenant)
            status, quota = await both.call(tenant, "GET", "/api/storage/quota")
            assert (status, quota["limit"], quota["available"]) == (200, limit, limit)


async def test_what_everybody_may_buy(both: Both) -> None:
    """Neither employees' plan nor the old one is listed for those who do not have it, or sold to anybody."""
    team, employee = Team(), Team()
    await both.subscribe(employee.tenant, "intelia")
    listed = {}
    for who in (team, employee):
        _, body = await both.billing.call("GET", "/api/plans", who=who.principal)
        listed[who.tenant] = {plan["code"]: plan["current"] for plan in body["items"]}
    assert listed[team.tenant] == {"essential": True, "pro": False, "elite": False}
    assert listed[employee.tenant] == {"essential": False, "pro": False, "elite": False, "intelia": True}
    _, body = await both.billing.call("GET", "/api/plans", who=Principal())
    assert [(plan["code"], plan["price"]) for plan in body["items"]] == [
        ("essential", None),
        ("pro", "3.00"),
        ("elite", "9.00"),
    ]
    for plan in ("intelia", "free", "essential"):
        status, body = await both.billing.initiate(team, plan=plan)
        assert (status, body["code"]) == (422, "plan_not_found")
    assert (await both.billing.initiate(team, plan="elite"))[0] == 201


async def test_a_team_above_its_new_plan_loses_nothing_and_adds_nothing(pg: PostgresServer, tmp_path: Path) -> None:
    """And is told how much it is above it: when it chooses, and for as long as it is."""
    (plans := tmp_path / "plans").mkdir()
    for source in DEFAULT.glob("*.yaml"):
        (plans / source.name).write_text(source.read_text().replace("104857600 # 100 MB", "100"))
    usage, team = Usage(), Team()
    async with (
        stands_for(usage) as url,
        opened(pg, tmp_path / "store", plan_catalogue=str(plans), usage_url=url) as both,
    ):
        tenant, billing = team.tenant, both.billing
        payment = await billing.started(team)
        await billing.callback(told(payment))
        await billing.until(team, payment, lambda p: p["status"] == "completed")
        await both.deliver(tenant)
        files = [(await both.upload(tenant, size))[1] for size in (150, 50)]
        _, planned = await billing.call("POST", "/api/subscription/cancel", {}, who=team.principal)
        assert (planned["bytes_over"], planned["next"]["bytes_over"]) == (None, None), "usage does not answer"
        usage.used[tenant] = 200
        _, planned = await billing.call("POST", "/api/subscription/cancel", {}, who=team.principal)
        assert (planned["plan"], planned["bytes_over"], planned["next"]["bytes_over"]) == ("pro", 0, 100)
        _, now = await billing.call("POST", "/api/subscription/cancel", {"when": "now"}, who=team.principal)
        assert (now["plan"], now["bytes_over"], now["next"]) == ("free", 100, None)
        assert (await billing.subscription(team))["bytes_over"] == 100
        await both.deliver(tenant)
        status, refused = await both.upload(tenant, 1)
        assert (status, refused["code"]) == (413, "quota_exceeded")
        for file, size in zip(files, (150, 50), strict=True):
            assert await both.content(tenant, file["file_id"]) == (200, b"x" * size)
        assert (await both.delete(tenant, files[0]["file_id"])) == 204
        assert (await both.upload(tenant, 51))[1]["code"] == "quota_exceeded"
        assert (await both.upload(tenant, 50))[0] == 201, "there is room again"
        assert await both.content(tenant, files[1]["file_id"]) == (200, b"x" * 50)


async def test_types_and_trash_are_the_plans(pg: PostgresServer, tmp_path: Path) -> None:
    (plans := tmp_path / "plans").mkdir()
    async with opened(pg, tmp_path / "store", plan_catalogue=str(catalogue(plans))) as both:
        tenant = uuid4()
        await both.subscribe(tenant, "pro")
        terms = await both.accounts._entitlements.terms(tenant)
    assert terms.trash_days == 30
    assert terms.allowed == frozenset({"image/*", "application/pdf"})
