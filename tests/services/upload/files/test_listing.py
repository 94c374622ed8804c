"""Lists: every filter and sort, page after page, each file once."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from services.upload.files import pages
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload


async def every(ada: Customer, limit: int = 3, **filters: Any) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        status, page, _ = await ada.call("GET", f"/api/storage/files?{urlencode({'limit': limit, **filters, **more})}")
        assert status == 200, page
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        more = {"cursor": page["next_cursor"]}


PROJECT = str(uuid4())
FILES = [
    ("b.txt", b"1", {"folder": "a", "entity_id": "e1"}),
    ("A.txt", b"22", {"folder": "a/b"}),
    ("c%_.txt", b"333", {"folder": "a/b/c", "category": "properties", "subcategory": "photos"}),
    ("Äpfel.txt", b"4444", {"folder": "a b", "project_id": PROJECT}),
    ("z.png", b"\x89PNG\r\n\x1a\n" + bytes(8), {"category": "properties"}),
    ("d.txt", b"1", {}),
    ("b.txt", b"55555", {"folder": "a"}),
]


async def filled(service: Upload) -> Customer:
    ada = service.customer()
    for name, content, fields in FILES:
        assert (await ada.upload(content, name=name, fields=fields))[0] == 201
    return ada


def names(files: list[dict[str, Any]]) -> list[str]:
    return [file["file_name"] for file in files]


async def test_every_filter(service: Upload) -> None:
    ada = await filled(service)
    middle = (await every(ada, sort="created_at", order="asc"))[3]["created_at"]
    for filters, expected in (
        ({"category": "properties"}, ["z.png", "c%_.txt"]),
        ({"category": "properties", "type": "image"}, ["z.png"]),
        ({"subcategory": "photos"}, ["c%_.txt"]),
        ({"type": "image"}, ["z.png"]),
        ({"entity_id": "e1"}, ["b.txt"]),
        ({"project_id": PROJECT}, ["Äpfel.txt"]),
        ({"folder": "a"}, ["b.txt", "b.txt"]),
        ({"folder": "a", "sort": "created_at"}, ["b.txt", "b.txt"]),
        ({"folder": ""}, ["d.txt", "z.png"]),
        ({"prefix": "a"}, ["b.txt", "b.txt", "A.txt", "c%_.txt"]),
        ({"prefix": "a", "sort": "size", "order": "asc"}, ["b.txt", "A.txt", "c%_.txt", "b.txt"]),
        ({"prefix": "a/b"}, ["A.txt", "c%_.txt"]),
        ({"name": "ÄPF"}, ["Äpfel.txt"]),
        ({"name": "%_."}, ["c%_.txt"]),
        ({"name": "TXT", "sort": "name"}, ["A.txt", "b.txt", "b.txt", "c%_.txt", "d.txt", "Äpfel.txt"]),
        ({"uploaded_after": middle}, ["b.txt", "d.txt", "z.png", "Äpfel.txt"]),
        ({"uploaded_before": middle, "sort": "name"}, ["A.txt", "b.txt", "c%_.txt"]),
        ({"trash": "true"}, []),
        ({"state": "blocked"}, []),
    ):
        assert names(await every(ada, limit=2, **filters)) == expected, filters


@pytest.mark.parametrize("scan", [10_000, 2])
async def test_every_sort_gives_every_file_once(service: Upload, scan: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a page looks at no more than two files."""
    monkeypatch.setattr(pages, "SCAN", scan)
    ada = await filled(service)
    keys: dict[str, Callable[[dict[str, Any]], Any]] = {
        "created_at": lambda file: file["created_at"],
        "name": lambda file: file["file_name"].lower().encode(),
        "size": lambda file: file["file_size"],
        "folder": lambda file: (file["folder"].encode(), file["file_name"].lower().encode()),
    }
    for sort, key in keys.items():
        for order in ("asc", "desc"):
            found = await every(ada, sort=sort, order=order)
            assert len({file["file_id"] for file in found}) == len(FILES) == len(found)
            sorted_by = [key(file) for file in found]
            assert sorted_by == sorted(sorted_by, reverse=order == "desc")
            assert names(await every(ada, sort=sort, order=order, name="z.")) == ["z.png"]


async def test_a_cursor_is_for_its_list_alone(service: Upload) -> None:
    ada = await filled(service)
    cursor = (await ada.call("GET", "/api/storage/files?limit=2&sort=size"))[1]["next_cursor"]
    # It carries its sort, so the sort need not be said again.
    page = (await ada.call("GET", f"/api/storage/files?limit=200&cursor={cursor}"))[1]
    assert [file["file_size"] for file in page["items"]] == [4, 3, 2, 1, 1]
    for wrong in (f"sort=name&cursor={cursor}", f"sort=size&order=asc&cursor={cursor}", "cursor=W10", "cursor=bnVsbA"):
        status, problem, _ = await ada.call("GET", f"/api/storage/files?{wrong}")
        assert (status, problem["code"]) == (422, "invalid_cursor"), wrong
    assert (await ada.call("GET", "/api/storage/files?trash=true&sort=name"))[0] == 422


async def test_pages_hold_while_files_come_and_go(service: Upload) -> None:
    ada = await filled(service)
    stay = {file["file_id"] for file in await every(ada)}

    async def churn() -> None:
        for _ in range(20):
            made = (await ada.upload(b"x"))[1]
            await ada.call("DELETE", f"/api/storage/files/{made['file_id']}")

    churning = asyncio.ensure_future(churn())
    while not churning.done():
        found = [file["file_id"] for file in await every(ada, limit=1, sort="name")]
        assert len(set(found)) == len(found)
        assert stay <= set(found)
    await churning


async def test_the_walk_stays_within_an_index(service: Upload) -> None:
    """What keeps a page's time constant: each sort has an index whose order is the list's, under row security too."""
    import asyncpg

    ada = await filled(service)
    rows = [(f"{i:05}", i) for i in range(3000)]
    await query(
        service.dsn.superuser,
        "INSERT INTO stored_file (id, tenant_id, path, name, size, content_type, file_type, category, sha256, "
        "created_at, folder) SELECT gen_random_uuid(), $1, n, n, s, 't/t', 'other', 'documents', '', "
        "now() - s * interval '1 s', n FROM unnest($2::text[], $3::bigint[]) AS r(n, s)",
        ada.tenant,
        [name for name, _ in rows],
        [size for _, size in rows],
    )
    await query(service.dsn.superuser, "ANALYZE stored_file")
    connection: Any = await asyncpg.connect(service.dsn.app)
    try:
        for sort, key in (
            ("created_at", "created_at"),
            ("sort_name", 'sort_name COLLATE "C"'),
            ("size", "size"),
            ("folder", 'folder COLLATE "C", sort_name COLLATE "C"'),
        ):
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(ada.tenant))
                middle = await connection.fetchrow(f"SELECT {sort}, sort_name, id FROM stored_file OFFSET 1500 LIMIT 1")
                after = [middle["folder"], middle["sort_name"]] if sort == "folder" else [middle[sort]]
                holes = ", ".join(f"${i + 1}" for i in range(len(after) + 1))
                plan = await connection.fetch(
                    "EXPLAIN SELECT * FROM stored_file WHERE version_of IS NULL AND trashed_at IS NULL "
                    f"AND ({key}, id) > ({holes}) ORDER BY {key}, id LIMIT 50",
                    *after,
                    middle["id"],
                )
            text = "\n".join(row[0] for row in plan)
            assert "Sort" not in text, text
            condition = next(line for line in text.splitlines() if "Index Cond" in line)
            assert "ROW(" in condition, text
    finally:
        await connection.close()
