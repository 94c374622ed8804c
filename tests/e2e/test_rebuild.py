"""Counters put right on a running stack: at the command line, by the API, and by whom."""

import asyncio
import json
from typing import Any

import aiohttp

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
