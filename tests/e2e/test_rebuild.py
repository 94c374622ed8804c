"""Counters put right on a running stack: at the command line, by the API, and by whom."""

import asyncio
import json
from typing import Any

import aiohttp

from deploy.local.demo.client import Person
from tests.fixtures.stack import Stack, person


async def counted(stack: Stack, http: aiohttp.ClientSession, size: int) -> Any:
    """Somebody with one file of so many bytes, counted."""
    ada = await person(stack, http)
    (await ada.upload("a.txt", b"x" * size, "documents")).expect(201, "upload")
    async with asyncio.timeout(20):
        while (await ada.get("/api/usage/summary"))["storage"]["used"] != size:
            await asyncio.sleep(0.1)
    return ada


async def spoil(stack: Stack, ada: Any) -> None:
    sql = "UPDATE {} SET {} = {} + 7 WHERE tenant_id = $1::uuid"
    for table, column in (("tenant_usage", "bytes"), ("usage_breakdown", "total_size")):
        await stack.query("usage", sql.format(table, column, column), ada.tenant["id"])


async def staff(stack: Stack, http: aiohttp.ClientSession) -> Person:
    admin = Person(stack.url, http)
    body = {"email": stack.status["admin"]["email"], "password": stack.secrets()["admin_password"]}
    admin.token = (await admin.call("POST", "/api/auth/login", body)).expect(200, "sign-in")["access_token"]
    return admin


async def test_at_the_command_line(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await counted(stack, http, 100)
    slug = ada.tenant["slug"]
    assert "0 differ, 0 put right" in stack.command("usage", "rebuild", slug).stdout
    await spoil(stack, ada)
    told = stack.command("usage", "rebuild", "--dry-run", "--json", check=False)
    document = json.loads(told.stdout)
    assert told.returncode == 1
    mine = [d for d in document["differences"] if d["tenant_id"] == ada.tenant["id"]]
    assert [(d["part"], d["ledger"]["bytes"], d["counters"]["bytes"]) for d in mine] == [
        ("kind", 100, 107),
        ("total", 100, 107),
    ]
    assert "1 differ, 1 put right" in stack.command("usage", "rebuild", slug).stdout
    assert (await ada.get("/api/usage/summary"))["storage"]["used"] == 100
    assert "there is no tenant" in stack.command("usage", "rebuild", "nobody", check=False).stderr


async def test_by_the_api(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await counted(stack, http, 50)
    await spoil(stack, ada)
    answer = (await ada.call("POST", "/api/storage/recalculate")).expect(200, "recalculated")
    assert (answer["equal"], answer["repaired"], len(answer["differences"])) == (False, True, 2)
    answer = (await ada.call("POST", "/api/storage/recalculate")).expect(200, "recalculated")
    assert (answer["equal"], answer["repaired"], answer["differences"]) == (True, False, [])
    assert (await ada.get("/api/usage/summary"))["storage"]["used"] == 50
    told = await stack.query(
        "usage", "SELECT type FROM outbox_event WHERE tenant_id = $1::uuid AND topic = 'alerts.v1'", ada.tenant["id"]
    )
    assert [row["type"] for row in told] == ["usage.recalculated"]


async def test_what_upload_has_written_down_wrong_is_put_right_by_an_entry(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    """Only platform administrators may have it put right; the counters follow the ledger."""
    ada, admin = await counted(stack, http, 100), await staff(stack, http)
    await stack.query(
        "upload", "UPDATE tenant_storage SET used = used + 7 WHERE tenant_id = $1::uuid", ada.tenant["id"]
    )
    told = (await ada.call("POST", "/api/storage/recalculate")).expect(200, "recalculated")
    assert [(d["side"], d["bytes"]) for d in told["storage"]["differences"]] == [("account", 7)]
    assert told["storage"]["repaired"] == []
    path = f"/api/admin/usage/tenants/{ada.tenant['id']}/recalculate?repair=true"
    (await ada.call("POST", path)).expect(403, "not for tenants")
    told = (await admin.call("POST", path)).expect(200, "recalculated")
    assert len(told["storage"]["repaired"]) == 1
    assert told["equal"] is True
    told = (await ada.call("POST", "/api/storage/recalculate")).expect(200, "recalculated")
    assert told["storage"]["differences"] == []
    assert told["storage"]["account"]["bytes"] == told["storage"]["ledger"]["bytes"] == 100
