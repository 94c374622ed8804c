"""The worker's parts over a real wire: events in, notifications, mails and `tenants.v1` out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from services.gateway.events.hub import CHANNEL
from services.gateway.settings import Settings
from services.gateway.worker import build
from shared.events import EntitlementsChanged
from shared.kafka import Record
from shared.kafka.publisher import Publisher
from shared.outbox import Listener
from tests.fixtures.broker import EmbeddedBroker
from tests.fixtures.postgres import query
from tests.services.gateway.harness import PASSWORD, Gateway, make_settings
from tests.services.gateway.notifications.samples import crossed, paid, record
from tests.services.gateway.plans import NOTHING_LIMITED, as_


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """Nobody else's records on the service's topics."""
    started = EmbeddedBroker()
    yield started
    started.stop()


def _settings(gateway: Gateway, folder: Path, bootstrap: str) -> Settings:
    return make_settings(
        gateway.database, folder, gateway.settings.usage_url, kafka_bootstrap=bootstrap,
        database_url=gateway.database.worker, admin_email="root@example.test", admin_password=PASSWORD,
        smtp_url="smtp://127.0.0.1:9",
    )  # fmt: skip


@pytest.fixture
async def publisher(gateway: Gateway, own_broker: EmbeddedBroker, tmp_path: Path) -> AsyncIterator[Publisher]:
    """As usage and billing publish; the gateway's worker runs meanwhile."""
    settings = _settings(gateway, tmp_path, own_broker.bootstrap)
    async with build(settings) as parts, Publisher(own_broker.bootstrap, source="/stowage/test") as publisher:
        tasks = [asyncio.create_task(_run(task)) for task in parts.tasks]
        await _ready(parts.checks["consumer"])
        yield publisher
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ready(check: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(RuntimeError):
                await check()
                return
            await asyncio.sleep(0.05)


async def _run(task: Any) -> None:
    await task()


async def _send(publisher: Publisher, *records: Record) -> None:
    for sent in records:
        row = {
            "tenant_id": sent.tenant_id, "seq": sent.seq, "id": sent.id, "type": sent.type, "occurred_at": sent.time,
            "body": sent.body.decode(), "traceparent": sent.traceparent,
        }  # fmt: skip
        await publisher.publish(sent.topic, [row])


async def _notified(gateway: Gateway, count: int) -> list[Any]:
    async with asyncio.timeout(20):
        while len(rows := await query(gateway.database.superuser, "SELECT id, kind FROM notification")) < count:
            await asyncio.sleep(0.05)
    return rows


async def test_events_twice_over_the_wire_notify_once(gateway: Gateway, publisher: Publisher) -> None:
    person = await gateway.sign_up()
    tenant = UUID(person.tenant["id"])
    alert, payment = record(crossed(tenant, 80)), record(paid(tenant))
    async with Listener(gateway.database.app, CHANNEL) as listener:
        await listener.wait(0.01)
        await _send(publisher, alert, payment, alert, record(crossed(tenant, 95), 2), alert)
        await _notified(gateway, 3)
        heard = await listener.wait(5)
    assert str(tenant) in heard
    await asyncio.sleep(0.3)
    rows = await _notified(gateway, 3)
    assert sorted(row["kind"] for row in rows) == ["payment_completed", "storage_critical", "storage_warning"]
    mails = await query(gateway.database.superuser, "SELECT id FROM mail")
    assert {mail["id"] for mail in mails} == {row["id"] for row in rows}


async def test_what_a_plan_allows_is_heard_and_the_newest_holds(gateway: Gateway, publisher: Publisher) -> None:
    """Without asking billing, whose stub answers nothing that could be understood."""
    ada, bob = await gateway.sign_up(), await gateway.sign_up()
    tenant, plans = UUID(ada.tenant["id"]), {2: 2, 1: 50, 3: 1}

    def entitled(version: int) -> Record:
        granted = NOTHING_LIMITED.model_copy(update={"members": plans[version]})
        event = EntitlementsChanged(tenant_id=tenant, version=version, plan="p", plan_version=1, entitlements=granted)
        # The topic is compacted: a later record may hold an older version, when two ways met.
        return record(event, list(plans).index(version) + 1)

    async def heard(version: int) -> None:
        sql = "SELECT version FROM tenant_entitlement WHERE tenant_id = $1 AND version = $2"
        async with asyncio.timeout(20):
            while not await query(gateway.database.superuser, sql, tenant, version):
                await asyncio.sleep(0.02)

    path = f"/api/tenants/{ada.tenant['slug']}/members"
    await _send(publisher, entitled(2), entitled(1), entitled(2))
    await heard(2)
    assert (await as_(gateway, ada, "POST", path, {"email": bob.email}))[0] == 201
    carl = await gateway.sign_up()
    assert (await as_(gateway, ada, "POST", path, {"email": carl.email}))[1]["code"] == "plan_limit_members"
    await _send(publisher, entitled(3))
    await heard(3)
    status, body = await as_(gateway, ada, "POST", path, {"email": carl.email})
    assert (status, body["limit"], body["used"]) == (403, 1, 2), "nobody is thrown out by a smaller plan"
    assert not [seen for seen in gateway.stub.seen if seen.path.startswith("/internal/entitlements")]


async def test_a_new_tenant_is_announced(gateway: Gateway, publisher: Publisher, own_broker: EmbeddedBroker) -> None:
    assert publisher is not None
    person = await gateway.sign_up("Harbour")
    consumer = AIOKafkaConsumer("tenants.v1", bootstrap_servers=own_broker.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            found = await consumer.getone()
    finally:
        with suppress(TimeoutError):
            await consumer.stop()
    body = orjson.loads(found.value)
    assert (body["tenant_id"], body["slug"], body["owner_email"]) == (person.tenant["id"], "harbour", person.email)
    assert dict(found.headers)["ce_tenantseq"] == b"1"


async def test_the_administrator_exists_and_keeps_the_password(gateway: Gateway, tmp_path: Path) -> None:
    for password in (PASSWORD, "another password"):  # a second start changes nothing
        settings = _settings(gateway, tmp_path, "127.0.0.1:9").model_copy(update={"admin_password": password})
        async with build(settings):
            pass
    body = {"email": "root@example.test", "password": PASSWORD}
    status, made = await gateway.call("POST", "/api/auth/login", json=body)
    assert (status, made["user"]["is_admin"], made["tenant"]) == (200, True, None)
    bearer = {"authorization": f"Bearer {made['access_token']}"}
    status, problem = await gateway.call("GET", "/api/notifications", headers=bearer)
    assert (status, problem["code"]) == (403, "tenant_required")
