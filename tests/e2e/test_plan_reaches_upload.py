"""What a plan says of images, types and trash is what upload holds its tenants to. Real billing, real upload."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from services.billing import wiring
from services.billing.catalogue.loader import FOLDER, load
from services.upload.entitlements.handlers import on_entitlements
from services.upload.main import create
from services.upload.quota.service import AccountService
from services.upload.settings import Settings
from shared.db import Database
from shared.events import decode
from shared.kafka import Record
from tests.fixtures.postgres import PostgresServer, query
from tests.services.billing.door import SECRET
from tests.services.billing.serving import served
from tests.services.billing.world import World, running

MONTH = date(2026, 3, 1)
IMAGES = {"essential": "0", "pro": "50", "elite": "null"}


def catalogue(folder: Path) -> Path:
    """Essential is free and has no images, Pro has fifty a month, Elite has no end of them."""
    free, pro = ((FOLDER / f"{name}.yaml").read_text() for name in ("free", "pro"))
    for code, images in IMAGES.items():
        text = (free if code == "essential" else pro).replace("images_month: null", f"images_month: {images}")
        text = text.replace("code: free", f"code: {code}").replace("code: pro", f"code: {code}")
        (folder / f"{code}.yaml").write_text(
            f"{text}  allowed_types: [image/*, application/pdf]\n  trash_days: 30\n" if code == "pro" else text
        )
    return folder


@dataclass
class Both:
    billing: World
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


@pytest.fixture
async def both(pg: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Both]:
    plans = tmp_path / "plans"
    plans.mkdir()
    monkeypatch.setattr(wiring, "load", lambda: load(catalogue(plans)))
    dsn = pg.create("upload")
    async with running(pg.create("billing")) as billing, Database(dsn.worker) as worker:
        app = create(
            Settings(
                mode="local",
                database_url=dsn.app,
                kafka_bootstrap="",
                internal_secret=SECRET,
                base_url="http://upload",
                billing_url=billing.url,
                local_storage_path=tmp_path / "store",
                signing_secret="k" * 40,
            )
        )
        async with served(app):
            yield Both(billing, app.state.services.accounts, worker)


async def test_images_of_a_month_are_the_plans(both: Both) -> None:
    tenant = uuid4()
    assert await both.admitted(tenant, 3) == 0, "a new team is on Essential, which is told when it is asked for"
    await both.subscribe(tenant, "pro")
    await both.deliver(tenant)
    assert await both.admitted(tenant, 60) == 50
    await both.subscribe(tenant, "elite")
    await both.deliver(tenant)
    assert await both.admitted(tenant, 60) == 60


async def test_types_and_trash_are_the_plans(both: Both) -> None:
    tenant = uuid4()
    await both.subscribe(tenant, "pro")
    terms = await both.accounts._entitlements.terms(tenant)
    assert (terms.images_month, terms.trash_days) == (50, 30)
    assert terms.allowed == frozenset({"image/*", "application/pdf"})
