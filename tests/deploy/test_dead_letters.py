"""`stowage dead-letters` on a running stack: each service's worker replays its own."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from shared.db import Database
from shared.events import Event, TenantCreated
from shared.kafka.dead_letters import DeadLetters, Failed
from tests.fixtures.stack import Stack, person
from tests.services.gateway.notifications.samples import paid
from tests.services.gateway.notifications.samples import record as sample
from tests.shared.kafka.samples import event, stored

EFFECTS = {
    "gateway": "SELECT count(*) FROM notification WHERE tenant_id = $1",
    "upload": "SELECT count(*) FROM tenant_storage WHERE tenant_id = $1",
    "usage": "SELECT sum(bytes) FROM tenant_usage WHERE tenant_id = $1",
    "billing": "SELECT count(*) FROM subscription WHERE tenant_id = $1",
}


def events(tenant: UUID) -> dict[str, Event]:
    """What each service is to have left out."""
    created = TenantCreated(
        tenant_id=tenant, slug="t", name="T", owner_id=tenant, owner_email="t@example.org", timezone="UTC", locale="en"
    )
    return {
        "gateway": paid(tenant),
        "upload": event("entitlements.changed", tenant, 1),
        "usage": stored(tenant, 10),
        "billing": created,
    }


async def bury(stack: Stack, service: str, told: Event) -> str:
    failed = Failed.of(sample(told), ZeroDivisionError("once"), left_out=True)
    async with Database(stack.dsn(service, "worker")) as database, database.transaction() as connection:
        await DeadLetters(database, service, "").insert(connection, [failed])
        return str(await connection.fetchval("SELECT id FROM dead_letter WHERE tenant_id = $1", told.tenant_id))


def told(stack: Stack, *words: str) -> Any:
    return json.loads(stack.command("dead-letters", *words, "--json").stdout)


async def test_each_worker_replays_its_own(stack: Stack) -> None:
    tenant = uuid4()
    buried = {service: await bury(stack, service, made) for service, made in events(tenant).items()}
    listed = {letter["service"]: letter["id"] for letter in told(stack, "list") if letter["tenant_id"] == str(tenant)}
    assert listed == buried
    text = stack.command("dead-letters", "list", "--service", "usage").stdout
    assert buried["usage"] in text
    assert buried["upload"] not in text
    assert "ZeroDivisionError: once" in text
    asked = told(stack, "replay", buried["usage"])
    assert (asked["service"], asked["replay_requested_by"]) == ("usage", "command line")
    stack.command("dead-letters", "replay", "--all")
    for service in buried:
        await resolved(stack, service, tenant)
    for service, sql in EFFECTS.items():
        assert (await stack.query(service, sql, tenant))[0][0] == (10 if service == "usage" else 1), service
    assert '"size": 10' in stack.command("dead-letters", "show", buried["usage"]).stdout
    shown = told(stack, "show", buried["upload"])
    assert (shown["state"], shown["resolved_by"], shown["attempts"]) == ("replayed", "command line", 1)


async def resolved(stack: Stack, service: str, tenant: UUID) -> None:
    waiting = "SELECT 1 FROM dead_letter WHERE tenant_id = $1 AND resolved_at IS NULL"
    async with asyncio.timeout(20):
        while await stack.query(service, waiting, tenant):
            await asyncio.sleep(0.1)


async def test_discarded_and_mistaken(stack: Stack) -> None:
    letter = await bury(stack, "usage", stored(uuid4()))
    gone = told(stack, "discard", letter, "--reason", "a test's")
    assert (gone["state"], gone["reason"], gone["resolved_by"]) == ("discarded", "a test's", "command line")
    for words in (
        ("replay", letter),
        ("discard", letter),
        ("show", str(uuid4())),
        ("replay", letter, "--all"),
    ):
        done = stack.command("dead-letters", *words, check=False)
        assert done.returncode == 1, words
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


async def test_through_the_gateway_for_administrators_only(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await person(stack, http)
    admin = {"email": stack.status["admin"]["email"], "password": stack.secrets()["admin_password"]}
    async with http.post(f"{stack.url}/api/auth/login", json=admin) as answer:
        token = (await answer.json())["access_token"]
    for service in ("gateway", "upload", "usage", "billing"):
        path = f"/api/admin/{service}/dead-letters"
        assert (await ada.call("GET", path)).body["code"] == "admin_required"
        async with http.get(stack.url + path, headers={"Authorization": f"Bearer {token}"}) as answer:
            assert answer.status == 200
            assert "items" in await answer.json()
