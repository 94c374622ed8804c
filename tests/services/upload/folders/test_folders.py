"""Folders as prefixes."""

import asyncio
import json
import math
import random
from collections import Counter
from typing import Any

import asyncpg

from services.upload.folders import repository
from services.upload.folders.repository import COUNTED
from services.upload.trash.service import MOST
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload


async def filled(service: Upload) -> Customer:
    ada = service.customer()
    for folder in ("a", "a/b", "a/b/c", "a b", "a0", "z/y/x", ""):
        assert (await ada.upload(b"1234", fields={"folder": folder}))[0] == 201
    return ada


async def folders(ada: Customer, query: str = "") -> list[tuple[str, int, int]]:
    items = (await ada.call("GET", f"/api/storage/folders?{query}"))[1]["items"]
    return [(item["path"], item["files"], item["bytes"]) for item in items]


async def test_names_counts_and_bytes(service: Upload) -> None:
    ada, eve = await filled(service), service.customer()
    assert await folders(ada) == [("a", 3, 12), ("a b", 1, 4), ("a0", 1, 4), ("z", 1, 4)]
    assert await folders(ada, "prefix=a") == [("a/b", 2, 8)]
    assert await folders(ada, "prefix=z/y") == [("z/y/x", 1, 4)]
    assert await folders(ada, "prefix=nowhere") == []
    assert await folders(eve) == []
    first = (await ada.call("GET", "/api/storage/folders?limit=2"))[1]
    rest = (await ada.call("GET", f"/api/storage/folders?cursor={first['next_cursor']}"))[1]
    assert [item["name"] for item in first["items"] + rest["items"]] == ["a", "a b", "a0", "z"]
    assert (await ada.call("GET", "/api/storage/folders?prefix=../x"))[0] == 422


async def test_a_folder_goes_with_all_below_it_and_nothing_beside(service: Upload) -> None:
    ada, eve = await filled(service), await filled(service)
    answers = await asyncio.gather(*(ada.call("DELETE", "/api/storage/folders?path=a") for _ in range(3)))
    assert sum(body["files"] for status, body, _ in answers if status == 200) == 3
    assert {status for status, _, _ in answers} <= {200, 404}
    assert await folders(ada) == [("a b", 1, 4), ("a0", 1, 4), ("z", 1, 4)]
    assert (await ada.quota())["used"] == 16
    assert len(await folders(eve)) == 4
    assert (await ada.call("DELETE", "/api/storage/folders?path=a"))[0] == 404
    assert (await ada.call("DELETE", "/api/storage/folders?path="))[0] == 422


async def test_a_folder_moves_with_all_below_it(service: Upload) -> None:
    ada = await filled(service)
    status, done, _ = await ada.call("POST", "/api/storage/folders/move", json={"path": "a", "to": "z/y"})
    assert (status, done) == (200, {"files": 3, "complete": True})
    assert await folders(ada, "prefix=z") == [("z/y", 4, 16)]
    assert await folders(ada, "prefix=z/y") == [("z/y/b", 2, 8), ("z/y/x", 1, 4)]
    for to in ("z", "z/y"):
        status, problem, _ = await ada.call("POST", "/api/storage/folders/move", json={"path": "z", "to": to})
        assert (status, problem["code"]) == (422, "invalid_folder")
    # Up to the top.
    assert (await ada.call("POST", "/api/storage/folders/move", json={"path": "z/y", "to": ""}))[1]["files"] == 4
    assert await folders(ada) == [("a b", 1, 4), ("a0", 1, 4), ("b", 2, 8), ("x", 1, 4)]
    long = "n" * 255
    status, problem, _ = await ada.call(
        "POST", "/api/storage/folders/move", json={"path": "b", "to": "/".join([long] * 4)}
    )
    assert (status, problem["code"]) == (422, "invalid_folder")


async def test_more_than_a_request_takes_goes_by_asking_again(service: Upload) -> None:
    ada = await filled(service)
    await query(
        service.dsn.superuser,
        "INSERT INTO stored_file (id, tenant_id, path, folder, name, size, content_type, file_type, category, sha256, "
        "created_at) SELECT gen_random_uuid(), $1, 'p' || n, 'big/' || n % 7, 'note.txt', 1, 'text/plain', 'document', "
        "'documents', repeat('0', 64), now() FROM generate_series(1, $2::int) AS n",
        ada.tenant,
        MOST + 300,
    )
    await query(service.dsn.superuser, "UPDATE tenant_storage SET files = files + $1, used = used + $1", MOST + 300)
    asked: list[dict[str, Any]] = []
    while not asked or not asked[-1]["complete"]:
        status, done, _ = await ada.call("DELETE", "/api/storage/folders?path=big")
        assert status == 200
        asked.append(done)
    assert asked == [{"files": MOST, "complete": False}, {"files": 300, "complete": True}]
    account = await service.account(ada.tenant)
    assert (account["files"], account["used"]) == (7, 28)
    assert await folders(ada) == [("a", 3, 12), ("a b", 1, 4), ("a0", 1, 4), ("z", 1, 4)]
    assert [entry["seq"] for entry in await service.ledger(ada.tenant)] == list(range(1, account["seq"] + 1))


async def test_names_come_in_order_whatever_they_begin_with(service: Upload) -> None:
    """One name is the beginning of another, and what follows is sorted before or behind the slash."""
    ada = service.customer()
    chance = random.Random(7)
    names = ["".join(chance.choice("a!/-0é") for _ in range(chance.randint(1, 6))) for _ in range(400)]
    below = sorted({"/".join(filter(None, name.split("/"))) for name in names} - {""})
    await insert(service, ada, below + [f"top/{name}" for name in below])
    await query(service.dsn.superuser, "UPDATE stored_file SET trashed_at = now() WHERE folder = $1", below[0])
    for prefix, expected in (("", below[1:] + ["top"] * len(below)), ("top", below)):
        counts = Counter(name.split("/")[0] for name in expected)
        seen: list[tuple[str, int]] = []
        more = ""
        for _ in range(math.ceil(len(counts) / 3)):
            _, page, _ = await ada.call("GET", f"/api/storage/folders?limit=3&prefix={prefix}&sums=true{more}")
            seen += [(item["name"], item["files"]) for item in page["items"]]
            more = f"&cursor={page['next_cursor']}"
        assert page["next_cursor"] is None
        assert seen == sorted(counts.items(), key=lambda item: item[0].encode())


async def test_a_page_reads_what_it_shows_and_not_all_that_is_below(service: Upload) -> None:
    ada = service.customer()
    await insert(service, ada, [f"big/{n % 4}/deep" for n in range(40_000)] + ["big/few"] * COUNTED + ["big/one"])
    await query(service.dsn.superuser, "ANALYZE stored_file")
    items = (await ada.call("GET", "/api/storage/folders?prefix=big"))[1]["items"]
    assert [(item["name"], item["files"], item["bytes"]) for item in items] == [
        *((str(n), None, None) for n in range(4)),
        ("few", COUNTED, COUNTED),
        ("one", 1, 1),
    ]
    items = (await ada.call("GET", "/api/storage/folders?prefix=big&sums=true"))[1]["items"]
    assert [item["bytes"] for item in items] == [10_000] * 4 + [COUNTED, 1]
    connection: Any = await asyncpg.connect(service.dsn.app)
    try:
        async with connection.transaction():
            await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(ada.tenant))
            explained = Explained(connection)
            assert await repository.list_names(explained, "big", "", 51, sums=False) == []
    finally:
        await connection.close()
    rows = _rows(explained.plan)
    assert 0 < rows <= 6 * (COUNTED + 10), explained.plan  # of six names
    assert explained.plan["Shared Hit Blocks"] + explained.plan["Shared Read Blocks"] <= 2 * rows + 200


class Explained:
    """A connection that says how a statement was done instead of its rows."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plan: dict[str, Any] = {}

    async def execute(self, sql: str) -> None:
        await self._connection.execute(sql)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        said = await self._connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values)
        self.plan = json.loads(said)[0]["Plan"]
        return []


def _rows(plan: dict[str, Any]) -> int:
    """Taken from the table or an index of it, also those that were not wanted."""
    own = 0
    if plan.get("Relation Name") == "stored_file":
        own = math.ceil((plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"])
    return own + sum(_rows(below) for below in plan.get("Plans", ()))


async def insert(service: Upload, ada: Customer, folders: list[str]) -> None:
    """A file of one byte in each."""
    assert (await ada.call("GET", "/api/storage/quota"))[0] == 200  # makes the account
    await query(
        service.dsn.superuser,
        "INSERT INTO stored_file (id, tenant_id, path, folder, name, size, content_type, file_type, category, sha256, "
        "created_at) SELECT gen_random_uuid(), $1, 'p' || n, folder, 'note.txt', 1, 'text/plain', 'document', "
        "'documents', repeat('0', 64), now() FROM unnest($2::text[]) WITH ORDINALITY AS t(folder, n)",
        ada.tenant,
        folders,
    )
