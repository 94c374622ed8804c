"""The audit trail: S1.3."""

import csv
import io
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from services.upload.ledger import transactions
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload


async def worked(service: Upload) -> tuple[Customer, list[str]]:
    ada = service.customer()
    ids = []
    for i in range(4):
        fields = {"category": ("documents", "properties")[i % 2], "metadata": f'{{"n": {i}}}'}
        ids.append((await ada.upload(b"x" * (i + 1), name=f"{i}.txt", fields=fields))[1]["file_id"])
    ada.user, first = uuid4(), ada.user
    await ada.call("PUT", f"/api/storage/files/{ids[1]}/content", data=b"newer")
    await ada.call("DELETE", f"/api/storage/files/{ids[0]}")
    ada.user = first
    return ada, ids


async def trail(ada: Customer, query: str = "", limit: int = 200) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        status, page, _ = await ada.call("GET", f"/api/storage/transactions?limit={limit}&{query}{cursor}")
        assert status == 200, page
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_every_field_and_every_filter(service: Upload) -> None:
    ada, ids = await worked(service)
    eve, _ = await worked(service)
    everything = await trail(ada)
    assert [entry["seq"] for entry in everything] == [6, 5, 4, 3, 2, 1]
    assert {entry["seq"] for entry in await trail(eve)} == {1, 2, 3, 4, 5, 6}
    delete, replace, last = everything[:3]
    assert (delete["action"], delete["delta"], delete["file_id"]) == ("delete", -1, ids[0])
    assert (replace["action"], replace["delta"], replace["file_size"]) == ("replace", 3, 5)
    assert (last["file_name"], last["category"], last["metadata"]) == ("3.txt", "properties", {"n": 3})
    assert last["uploaded_by"] == str(ada.user) != delete["uploaded_by"]
    middle = quote(everything[3]["created_at"])
    for filters, expected in (
        ("action=upload", [4, 3, 2, 1]),
        ("action=delete", [6]),
        (f"file_id={ids[1]}", [5, 2]),
        ("category=properties", [5, 4, 2]),
        (f"user={ada.user}", [4, 3, 2, 1]),
        (f"user={delete['uploaded_by']}&action=replace", [5]),
        (f"from={middle}", [6, 5, 4, 3]),
        (f"to={middle}", [2, 1]),
        (f"from={middle}&to={middle}", []),
        (f"file_id={uuid4()}", []),
    ):
        for limit in (200, 1):
            assert [entry["seq"] for entry in await trail(ada, filters, limit)] == expected, filters
    for wrong in ("action=burn", "from=yesterday", "cursor=bnVsbA", "cursor=WzEsMl0"):
        assert (await ada.call("GET", f"/api/storage/transactions?{wrong}"))[0] == 422


async def test_a_page_looks_at_so_many_and_no_more(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "SCAN", 2)
    ada, _ = await worked(service)
    first = (await ada.call("GET", "/api/storage/transactions?category=documents&action=upload"))[1]
    assert first["items"] == []
    assert first["next_cursor"] is not None
    assert [entry["seq"] for entry in await trail(ada, "category=documents&action=upload")] == [3, 1]


async def test_a_files_history_outlives_it(service: Upload) -> None:
    ada, ids = await worked(service)
    items = (await ada.call("GET", f"/api/storage/files/{ids[0]}/history"))[1]["items"]
    assert [entry["action"] for entry in items] == ["delete", "upload"]
    eve = service.customer()
    for who, file in ((eve, ids[0]), (ada, uuid4())):
        status, problem, _ = await who.call("GET", f"/api/storage/files/{file}/history")
        assert (status, problem["code"]) == (404, "file_not_found")


async def test_all_of_it_as_csv(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "PAGE", 2)
    monkeypatch.setattr(transactions, "SCAN", 3)
    ada, ids = await worked(service)
    name = '=HYPERLINK("http://evil.test"),x.txt'
    await ada.upload(b"x", name=name.replace("/", "_").replace('"', "'"))
    accept = {"accept": "text/csv, */*;q=0.1"}
    for target, headers in (("?format=csv", {}), ("", accept)):
        status, body, answer = await ada.call("GET", f"/api/storage/transactions{target}", headers=headers)
        assert (status, answer["content-type"]) == (200, "text/csv; charset=utf-8")
        assert answer["content-disposition"].startswith("attachment")
        rows = list(csv.DictReader(io.StringIO(body.decode())))
        assert [row["seq"] for row in rows] == ["1", "2", "3", "4", "5", "6", "7"]
        assert rows[5]["delta"] == "-1"  # a number is no formula
        assert rows[0]["metadata"] == '{"n":0}'
        assert rows[-1]["file_name"] == "'=HYPERLINK('http:__evil.test'),x.txt"
    filtered = (await ada.call("GET", f"/api/storage/transactions?format=csv&file_id={ids[0]}"))[1]
    assert len(filtered.decode().splitlines()) == 3


async def test_csv_of_many_comes_as_it_is_read(service: Upload) -> None:
    """Its first line is there before its last is read: nothing is gathered in memory."""
    ada, _ = await worked(service)
    await query(service.dsn.superuser, "ALTER TABLE storage_transaction DISABLE TRIGGER append_only")
    await query(
        service.dsn.superuser,
        "INSERT INTO storage_transaction (tenant_id, seq, id, action, type, file_id, file_path, file_name, file_size, "
        "delta, content_type, file_type, category, metadata, occurred_at, body, prev_hash, hash) "
        "SELECT tenant_id, 100 + n, gen_random_uuid(), action, type, file_id, file_path, file_name, file_size, delta, "
        "content_type, file_type, category, metadata, occurred_at, '', prev_hash, hash "
        "FROM storage_transaction, generate_series(1, 5000) AS n WHERE tenant_id = $1 AND seq = 1",
        ada.tenant,
    )
    asked = transactions.Filters(format="csv")
    pieces = [piece async for piece in service.app.state.services.transactions.csv(ada.tenant, asked)]
    assert len(pieces) >= 5
    assert sum(piece.count(b"\r\n") for piece in pieces) == 5007
    assert max(map(len, pieces)) < 1_000_000
