"""Changing what is said of a file, copying it, replacing its bytes."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.upload.blobs.local import LocalStore
from tests.fixtures.postgres import query
from tests.services.upload.conftest import LIMIT, Customer, Upload


async def made(ada: Customer, content: bytes = b"hello", **options: Any) -> tuple[dict[str, Any], str]:
    file = (await ada.upload(content, **options))[1]
    return file, f"/api/storage/files/{file['file_id']}"


async def consistent(service: Upload, ada: Customer) -> None:
    """Account, rows, ledger and disk say the same."""
    account, ledger = await service.account(ada.tenant), await service.ledger(ada.tenant)
    rows = await query(service.dsn.superuser, "SELECT path, size FROM stored_file WHERE tenant_id = $1", ada.tenant)
    garbage = await query(service.dsn.superuser, "SELECT path FROM blob_garbage WHERE tenant_id = $1", ada.tenant)
    assert account["used"] == sum(row["size"] for row in rows) == sum(entry["delta"] for entry in ledger)
    assert account["reserved"] == 0
    assert account["seq"] == len(ledger)
    root = service.root / "blobs"
    lying = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    mine = {path for path in lying if path.startswith(f"customers/{ada.tenant}/")}
    assert mine == {row["path"] for row in rows} | {row["path"] for row in garbage}
    assert all((root / row["path"]).stat().st_size == row["size"] for row in rows)


async def test_a_name_and_a_folder_move_no_byte(service: Upload) -> None:
    ada = service.customer()
    file, path = await made(ada, fields={"subcategory": "leases", "metadata": '{"a": 1}'})
    status, after, _ = await ada.call("PATCH", path, json={"name": "other.pdf", "folder": "2026/May"})
    assert (status, after["file_name"], after["folder"]) == (200, "other.pdf", "2026/May")
    same = ("file_path", "sha256", "file_size", "category", "subcategory", "metadata", "created_at")
    assert [after[name] for name in same] == [file[name] for name in same]
    assert [entry["action"] for entry in await service.ledger(ada.tenant)] == ["upload", "move"]
    await consistent(service, ada)


async def test_a_new_category_moves_the_bytes(service: Upload) -> None:
    ada = service.customer()
    file, path = await made(ada, fields={"subcategory": "leases"})
    status, after, _ = await ada.call("PATCH", path, json={"category": "properties", "entity_id": "e-1"})
    assert (status, after["subcategory"], after["entity_id"]) == (200, None, "e-1")
    assert after["file_path"].startswith(f"customers/{ada.tenant}/properties/e-1/")
    assert (await ada.call("GET", f"{path}/content"))[1] == b"hello"
    garbage = await query(service.dsn.superuser, "SELECT path FROM blob_garbage")
    assert [row["path"] for row in garbage] == [file["file_path"]]
    await ada.call("PATCH", path, json={"category": "documents", "entity_id": None})  # and home again
    assert (await ada.call("GET", f"{path}/content"))[1] == b"hello"
    moves = [entry for entry in await service.ledger(ada.tenant) if entry["action"] == "move"]
    assert [(move["previous_category"], move["category"], move["delta"]) for move in moves] == [
        ("documents", "properties", 0),
        ("properties", "documents", 0),
    ]
    await consistent(service, ada)


async def test_metadata_alone_is_no_transaction(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada)
    after = (await ada.call("PATCH", path, json={"metadata": {"b": [2]}}))[1]
    assert after["metadata"] == {"b": [2]}
    assert len(await service.ledger(ada.tenant)) == 1
    # Beside an uploading neighbour, whose batch reads and writes whole rows, it is not lost either.
    await asyncio.gather(
        *(ada.call("PATCH", path, json={"metadata": {"n": 1}}) for _ in range(5)),
        *(ada.call("PATCH", path, json={"name": f"{i}.txt"}) for i in range(5)),
    )
    assert (await ada.call("GET", path))[1]["metadata"] == {"n": 1}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "a/b"}, "invalid_file_name"),
        ({"name": ""}, "invalid_file_name"),
        ({"folder": "../x"}, "invalid_folder"),
        ({"category": "nowhere"}, "unknown_category"),
        ({"subcategory": "photos"}, "unknown_category"),
        ({"entity_id": "a/b"}, "invalid_entity_id"),
        ({"metadata": {"x": "y" * 20_000}}, "invalid_metadata"),
        ({"size": 7}, "invalid_request"),
        ({"name": None}, "invalid_request"),
    ],
)
async def test_what_cannot_be_is_refused(service: Upload, body: dict[str, Any], code: str) -> None:
    ada = service.customer()
    file, path = await made(ada)
    for method, target in (("PATCH", path), ("POST", f"{path}/copy")):
        status, problem, _ = await ada.call(method, target, json=body)
        assert (status, problem["code"]) == (422, code)
    assert (await ada.call("GET", path))[1] == {k: v for k, v in file.items() if k not in {"file_url", "quota"}}
    await consistent(service, ada)


async def test_if_match_lets_one_of_many_win(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada)
    tag = (await ada.call("GET", path))[2]["etag"]
    answers = await asyncio.gather(
        *(ada.call("PATCH", path, json={"name": f"{i}.txt"}, headers={"if-match": tag}) for i in range(8))
    )
    assert sorted(status for status, _, _ in answers) == [200] + [412] * 7
    winner = next(body["file_name"] for status, body, _ in answers if status == 200)
    assert (await ada.call("GET", path))[1]["file_name"] == winner
    for body in ({"metadata": {"x": 1}}, {"category": "properties"}):
        assert (await ada.call("PATCH", path, json=body, headers={"if-match": tag}))[0] == 412
    await consistent(service, ada)


async def test_moves_and_replacements_at_once_lose_nothing(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada, b"0" * 100)

    async def replace(i: int) -> int:
        return (await ada.call("PUT", f"{path}/content", data=str(i).encode() * (100 + i)))[0]

    async def move(i: int) -> int:
        return (await ada.call("PATCH", path, json={"category": ("properties", "projects", "documents")[i % 3]}))[0]

    answers = await asyncio.gather(*(work(i) for i in range(10) for work in (replace, move)))
    assert set(answers) <= {200, 412}
    assert answers.count(200) >= 2
    status, body, _ = await ada.call("GET", f"{path}/content")
    assert status == 200
    assert len(set(body)) == 1
    assert len(body) == (await ada.quota())["used"]
    await consistent(service, ada)


async def test_a_copy_is_a_file_of_its_own(service: Upload) -> None:
    ada = service.customer()
    file, path = await made(ada, fields={"metadata": '{"a": 1}'})
    status, copy, _ = await ada.call("POST", f"{path}/copy", json={"name": "copy.txt", "category": "properties"})
    assert (status, copy["file_name"], copy["category"], copy["metadata"]) == (201, "copy.txt", "properties", {"a": 1})
    assert copy["quota"]["used"] == 10
    assert copy["file_id"] != file["file_id"]
    await ada.call("DELETE", path)
    assert (await ada.call("GET", f"/api/storage/files/{copy['file_id']}/content"))[1] == b"hello"
    await consistent(service, ada)


async def test_a_copy_that_does_not_fit_leaves_nothing(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada, b"x" * (LIMIT // 2 + 1))
    before = service.blobs()
    status, problem, _ = await ada.call("POST", f"{path}/copy", json={})
    assert (status, problem["code"]) == (413, "quota_exceeded")
    assert service.blobs() == before
    await consistent(service, ada)


async def test_copies_at_once_fill_the_quota_exactly(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada, b"x" * (LIMIT // 10))
    answers = await asyncio.gather(*(ada.call("POST", f"{path}/copy", json={}) for _ in range(15)))
    assert sorted(status for status, _, _ in answers) == [201] * 9 + [413] * 6
    assert (await ada.quota())["available"] == 0
    await consistent(service, ada)


async def test_a_copy_with_a_key_is_made_once(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada)
    key = {"idempotency-key": "k"}
    answers = await asyncio.gather(*(ada.call("POST", f"{path}/copy", json={}, headers=key) for _ in range(5)))
    assert {status for status, _, _ in answers} == {201}
    assert len({body["file_id"] for _, body, _ in answers}) == 1
    await consistent(service, ada)


async def test_a_copy_that_took_the_last_byte_is_made_once_too(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada, b"x" * (LIMIT // 2))
    key = {"idempotency-key": "k"}
    first, again = [await ada.call("POST", f"{path}/copy", json={}, headers=key) for _ in range(2)]
    assert (first[0], again[0]) == (201, 201), again
    assert first[1]["file_id"] == again[1]["file_id"]
    assert again[2]["idempotent-replayed"] == "true"


async def test_a_store_that_fails_a_copy_leaves_nothing(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = service.customer()
    file, path = await made(ada)
    real = LocalStore.copy

    async def fail(self: LocalStore, source: str, target: str) -> None:
        await real(self, source, target)
        raise OSError("the disk went away")

    monkeypatch.setattr(LocalStore, "copy", fail)
    assert (await ada.call("POST", f"{path}/copy", json={}))[0] == 500
    monkeypatch.undo()
    assert (await ada.call("GET", path))[1]["file_path"] == file["file_path"]
    await consistent(service, ada)


async def test_new_bytes_for_a_file(service: Upload) -> None:
    ada = service.customer()
    file, path = await made(ada, b"old words")
    tag = (await ada.call("HEAD", f"{path}/content"))[2]["etag"]
    new = b"\x89PNG\r\n\x1a\n" + bytes(100)
    status, after, _ = await ada.call("PUT", f"{path}/content", data=new, headers={"if-match": tag})
    assert (status, after["file_id"], after["file_name"]) == (200, file["file_id"], "note.txt")
    assert (after["content_type"], after["file_size"], after["quota"]["used"]) == ("image/png", 108, 108)
    assert (await ada.call("GET", f"{path}/content"))[1] == new
    assert (await ada.call("PUT", f"{path}/content", data=b"x", headers={"if-match": tag}))[0] == 412
    ledger = await service.ledger(ada.tenant)
    assert [(entry["action"], entry["delta"]) for entry in ledger] == [("upload", 9), ("replace", 99)]
    await consistent(service, ada)


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ({"content-range": "bytes 0-2/9"}, (400, "partial_put")),
        ({"content-encoding": "gzip"}, (415, "encoding_not_supported")),
    ],
)
async def test_what_is_not_the_whole_file_replaces_nothing(
    service: Upload, said: dict[str, str], refused: tuple[int, str]
) -> None:
    ada = service.customer()
    _, path = await made(ada, b"old words")
    status, problem, headers = await ada.call("PUT", f"{path}/content", data=b"new", headers=said)
    assert (status, problem["code"]) == refused
    assert headers["connection"] == "close", "the rest of the body is not wanted"
    assert (await ada.call("GET", f"{path}/content"))[1] == b"old words"
    await consistent(service, ada)


async def test_a_replacement_pays_for_the_difference(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada, b"x" * (LIMIT - 10))
    assert (await ada.call("PUT", f"{path}/content", data=b"y" * LIMIT))[0] == 200
    status, problem, _ = await ada.call("PUT", f"{path}/content", data=b"z" * (LIMIT + 1))
    assert (status, problem["code"]) == (413, "quota_exceeded")
    assert (await ada.call("GET", f"{path}/content"))[1] == b"y" * LIMIT

    async def endless() -> Any:
        for _ in range(LIMIT // 10_000 + 2):
            yield b"z" * 10_000

    assert (await ada.call("PUT", f"{path}/content", data=endless()))[0] == 413
    assert (await ada.call("GET", f"{path}/content"))[1] == b"y" * LIMIT
    await consistent(service, ada)


async def test_replacing_what_went_meanwhile_brings_nothing_back(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada)
    gone = asyncio.Event()

    async def slow() -> Any:
        yield b"x" * 10
        await gone.wait()
        yield b"y" * 10

    replacing = asyncio.ensure_future(ada.call("PUT", f"{path}/content", data=slow()))
    await asyncio.sleep(0.1)
    assert (await ada.call("DELETE", path))[0] == 204
    gone.set()
    assert (await replacing)[0] in {404, 412}
    assert (await ada.quota())["used"] == 0
    await consistent(service, ada)


async def test_many_move_at_once_each_with_its_result(service: Upload) -> None:
    ada, eve = service.customer(), service.customer()
    ids = [(await made(ada))[0]["file_id"] for _ in range(5)]
    foreign, unknown = (await made(eve))[0]["file_id"], str(uuid4())
    body = {"ids": [*ids, foreign, unknown], "folder": "new", "category": "projects"}
    status, done, _ = await ada.call("POST", "/api/storage/files/move", json=body)
    assert (status, done["moved"]) == (200, 5)
    assert [item["result"] for item in done["items"]] == ["moved"] * 5 + ["file_not_found"] * 2
    listed = (await ada.call("GET", "/api/storage/files?folder=new&category=projects"))[1]["items"]
    assert {file["file_id"] for file in listed} == set(ids)
    for ids in ([], [str(uuid4())] * 1001):
        assert (await ada.call("POST", "/api/storage/files/move", json={"ids": ids, "folder": "x"}))[0] == 422
    await consistent(service, ada)


async def test_a_thousand_move_at_once(service: Upload) -> None:
    ada = service.customer()
    await made(ada)
    await query(
        service.dsn.superuser,
        "INSERT INTO stored_file (id, tenant_id, path, name, size, content_type, file_type, category, sha256, "
        "created_at) SELECT gen_random_uuid(), tenant_id, 'p' || n, name, 0, content_type, file_type, category, "
        "sha256, created_at FROM stored_file, generate_series(1, 999) AS n",
    )
    ids = [str(row["id"]) for row in await query(service.dsn.superuser, "SELECT id FROM stored_file")]
    status, done, _ = await ada.call("POST", "/api/storage/files/move", json={"ids": ids, "folder": "new/place"})
    assert (status, done["moved"]) == (200, 1000)
    assert {item["file_id"] for item in done["items"]} == set(ids)
    moved = await query(service.dsn.superuser, "SELECT FROM stored_file WHERE folder = 'new/place'")
    assert len(moved) == 1000
    entries = await service.ledger(ada.tenant)
    assert [entry["seq"] for entry in entries] == list(range(1, 1002))
    assert {(entry["action"], entry["delta"]) for entry in entries[1:]} == {("move", 0)}


async def test_the_sweep_leaves_a_move_under_way_alone(tmp_path: Path) -> None:
    """It goes by age, and a copy's bytes may be as old as the hills."""
    import os
    import time

    store = LocalStore(tmp_path)
    source = tmp_path / "blobs" / "customers" / "a"
    source.parent.mkdir()
    source.write_bytes(b"x")
    os.utime(source, (1, 1))
    await store.copy("customers/a", "customers/b")
    found = await store.stat("customers/b")
    assert found is not None
    assert found.modified > time.time() - 60
    await store.close()
