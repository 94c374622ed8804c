"""News of tenants: their time zone reaches the account whenever it is made, and a deleted one stores nothing more."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.upload.entitlements.service import upsert
from services.upload.settings import Settings
from services.upload.tenants.handlers import on_tenants, replay_tenant
from services.upload.worker import build
from shared.db import Database
from shared.events import EntitlementsChanged, TenantCreated, TenantDeleted, TenantEvent, TenantUpdated
from shared.kafka import Record
from shared.kafka.publisher import Publisher
from tests.fixtures.broker import EmbeddedBroker
from tests.fixtures.postgres import PostgresServer, query
from tests.services.upload.conftest import SECRET, Upload
from tests.shared.kafka.samples import AT, UNLIMITED

ZONE = "Pacific/Auckland"


def news(tenant: UUID, seq: int = 1, kind: type[TenantEvent] = TenantCreated, zone: str = ZONE) -> Record:
    event = kind(
        tenant_id=tenant, slug="t", name="T", owner_id=tenant, owner_email="t@example.org", timezone=zone, locale="en"
    )
    headers = {"ce_id": str(uuid4()).encode(), "ce_time": AT.isoformat().encode()}
    return Record("tenants.v1", tenant, seq, kind.type, event.body().encode(), headers, None, event=event)


def plan(tenant: UUID) -> EntitlementsChanged:
    return EntitlementsChanged(tenant_id=tenant, version=1, plan="pro", plan_version=1, entitlements=UNLIMITED)


@pytest.fixture
async def database(pg: PostgresServer) -> AsyncIterator[Database]:
    async with Database(pg.create("upload").worker) as made:
        yield made


async def account(database: Database, tenant: UUID) -> tuple[str, datetime | None] | None:
    async with database.transaction() as connection:
        row = await connection.fetchrow("SELECT timezone, deleted_at FROM tenant_storage WHERE tenant_id = $1", tenant)
    return None if row is None else (row["timezone"], row["deleted_at"])


async def hear(database: Database, *records: Record) -> None:
    async with database.transaction() as connection:
        await on_tenants(connection, records)


async def test_news_wait_for_the_account(database: Database) -> None:
    tenant = uuid4()
    await hear(database, news(tenant))
    assert await account(database, tenant) is None
    async with database.transaction() as connection:
        await upsert(connection, [plan(tenant)])
    assert await account(database, tenant) == (ZONE, None)


async def test_the_newest_zone_counts_and_deleted_is_for_ever(database: Database) -> None:
    tenant = uuid4()
    async with database.transaction() as connection:
        await upsert(connection, [plan(tenant)])
    assert await account(database, tenant) == ("UTC", None)
    await hear(database, news(tenant), news(tenant, 2, TenantUpdated, "Asia/Tokyo"))
    assert await account(database, tenant) == ("Asia/Tokyo", None)
    await hear(database, news(tenant, 3, TenantDeleted), news(tenant, 4, TenantUpdated))
    assert await account(database, tenant) == (ZONE, AT.astimezone(UTC))
    await hear(database, news(tenant, 5, TenantUpdated, "Asia/Tokyo"))
    assert await account(database, tenant) == ("Asia/Tokyo", AT.astimezone(UTC))


async def test_a_zone_nobody_knows_is_utc(database: Database) -> None:
    tenant = uuid4()
    async with database.transaction() as connection:
        await upsert(connection, [plan(tenant)])
    for zone in ("Mars/Olympus", "../etc/passwd", ""):
        await hear(database, news(tenant, zone=zone))
        assert await account(database, tenant) == ("UTC", None)


@pytest.mark.parametrize("first", ["account", "news"])
async def test_account_and_news_at_once_do_not_miss_each_other(database: Database, first: str) -> None:
    tenant = uuid4()

    async def write(what: str, connection: Any) -> None:
        await (upsert(connection, [plan(tenant)]) if what == "account" else on_tenants(connection, [news(tenant)]))

    async def follow() -> None:
        async with database.transaction() as connection:
            await write("news" if first == "account" else "account", connection)

    async with database.transaction() as connection:
        await write(first, connection)
        following = asyncio.create_task(follow())
        await asyncio.sleep(0.1)  # it has begun, and sees nothing of what is not committed
        assert not following.done()
    await following
    assert await account(database, tenant) == (ZONE, None)


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    started = EmbeddedBroker()
    yield started
    started.stop()


@pytest.fixture
async def publisher(service: Upload, own_broker: EmbeddedBroker) -> AsyncIterator[Publisher]:
    """The service's worker listens."""
    settings = Settings(
        mode="local",
        database_url=service.dsn.worker,
        kafka_bootstrap=own_broker.bootstrap,
        internal_secret=SECRET,
        base_url=service.url,
        billing_url=service.settings.billing_url,
        local_storage_path=service.root,
        signing_secret="k" * 40,
    )
    async with build(settings) as parts, Publisher(own_broker.bootstrap, source="/stowage/gateway") as made:
        tasks: Sequence[asyncio.Task[Any]] = [asyncio.ensure_future(task()) for task in parts.tasks]
        yield made
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_deleted_tenant_reads_and_deletes_but_stores_no_more(service: Upload, publisher: Publisher) -> None:
    ada = service.customer()
    _, made = await ada.upload(b"before")
    for record in (news(ada.tenant), news(ada.tenant, 2, TenantDeleted)):
        await publisher.publish(
            "tenants.v1",
            [
                {
                    "tenant_id": ada.tenant,
                    "seq": record.seq,
                    "id": record.id,
                    "type": record.type,
                    "occurred_at": record.time,
                    "body": record.body.decode(),
                    "traceparent": None,
                }
            ],
        )
    async with asyncio.timeout(20):
        while (await service.account(ada.tenant))["deleted_at"] is None:
            await asyncio.sleep(0.05)
    assert (await service.account(ada.tenant))["timezone"] == ZONE
    await asyncio.sleep(1.1)  # terms may be a second old
    status, refused = await ada.upload(b"after")
    assert (status, refused["code"]) == (403, "tenant_deleted")
    assert (await ada.call("GET", f"/api/storage/files/{made['file_id']}/content"))[1] == b"before"
    assert (await ada.call("DELETE", f"/api/storage/files/{made['file_id']}"))[0] == 204
    assert await query(service.dsn.superuser, "SELECT id FROM reservation") == []


async def passed(database: Database, tenant: UUID, seq: int) -> None:
    """As the consumer notes how far it is."""
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO consumer_position VALUES ('tenants.v1', $1, $2)", tenant, seq)


async def replay(database: Database, record: Record) -> None:
    async with database.transaction() as connection:
        await replay_tenant(connection, record)


async def test_news_left_out_come_late_but_never_over_newer_ones(database: Database) -> None:
    newest, older, gone = uuid4(), uuid4(), uuid4()
    for tenant in (newest, older, gone):
        async with database.transaction() as connection:
            await upsert(connection, [plan(tenant)])
    await hear(database, news(newest))
    await passed(database, newest, 2)
    await replay(database, news(newest, 2, TenantUpdated, "Asia/Tokyo"))
    assert await account(database, newest) == ("Asia/Tokyo", None)
    await hear(database, news(older, 3, TenantUpdated, "Asia/Tokyo"))
    await passed(database, older, 3)
    await replay(database, news(older, 2, TenantUpdated, "Europe/Paris"))
    assert await account(database, older) == ("Asia/Tokyo", None)
    await hear(database, news(gone, 3, TenantUpdated))
    await passed(database, gone, 3)
    await replay(database, news(gone, 2, TenantDeleted))
    assert await account(database, gone) == (ZONE, AT)


async def test_news_that_come_during_a_replay_are_the_newest(database: Database) -> None:
    """The consumer has written its news and not yet how far it is, when an older one is replayed."""
    tenant = uuid4()
    await hear(database, news(tenant))
    await passed(database, tenant, 2)  # 2 was left out
    async with database.transaction() as connection:
        await upsert(connection, [plan(tenant)])
    async with database.transaction() as connection:
        await on_tenants(connection, [news(tenant, 3, TenantUpdated, "Asia/Tokyo")])
        late = asyncio.create_task(replay(database, news(tenant, 2, TenantUpdated, "Europe/Paris")))
        async with asyncio.timeout(5), database.acquire() as other:
            while not await other.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ):
                await asyncio.sleep(0.01)
        await connection.execute("UPDATE consumer_position SET seq = 3 WHERE tenant_id = $1", tenant)
    await late
    assert await account(database, tenant) == ("Asia/Tokyo", None)
