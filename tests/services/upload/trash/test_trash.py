"""Deleting, by way of the trash where the plan keeps one; and purging."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.upload.entitlements.service import EntitlementService
from services.upload.files.service import FileService
from services.upload.quota.service import AccountService
from services.upload.quota.writer import AccountWriter
from services.upload.trash import repository
from services.upload.trash.service import TrashService
from shared.clock import SystemClock
from shared.db import Database
from shared.http import ServiceClient
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Billing, Customer, Upload


async def made(ada: Customer, content: bytes = b"hello", **options: Any) -> tuple[str, str]:
    file = (await ada.upload(content, **options))[1]["file_id"]
    return file, f"/api/storage/files/{file}"


async def listed(ada: Customer, query: str = "") -> list[str]:
    return [file["file_id"] for file in (await ada.call("GET", f"/api/storage/files?{query}"))[1]["items"]]


async def purge(service: Upload) -> int:
    """As the worker does, with its role."""
    database = Database(service.dsn.worker, pool_size=2)
    billing = ServiceClient("http://127.0.0.1:1", "s" * 40, issuer="upload", audience="billing")
    async with database, billing:
        entitlements = EntitlementService(database, billing)
        accounts = AccountService(database, AccountWriter(database, on_commit=lambda: None), entitlements)
        files = FileService(database, service.app.state.services.files._locations)
        trash = TrashService(database, files, accounts, entitlements, SystemClock())
        return sum(await asyncio.gather(*(trash.purge_due() for _ in range(3))))


async def balanced(service: Upload, ada: Customer) -> None:
    account, ledger = await service.account(ada.tenant), await service.ledger(ada.tenant)
    rows = await query(
        service.dsn.superuser, "SELECT sum(size)::bigint FROM stored_file WHERE tenant_id = $1", ada.tenant
    )
    assert account["used"] == sum(entry["delta"] for entry in ledger) == (rows[0][0] or 0)


async def test_the_trash_keeps_and_counts_and_gives_back(service: Upload, billing: Billing) -> None:
    billing.trash_days = 30
    ada = service.customer()
    file, path = await made(ada)
    link = (await ada.call("GET", f"{path}/url"))[1]["url"].removeprefix(service.url)
    assert (await ada.call("DELETE", path))[0] == 204
    assert (await ada.call("DELETE", path))[0] == 404
    quota = await ada.quota()
    assert (quota["used"], quota["trashed"]) == (5, 5)
    assert await listed(ada) == []
    assert await listed(ada, "trash=true") == [file]
    shown = (await ada.call("GET", path))[1]
    assert shown["trashed_at"] is not None
    assert shown["purge_at"] > shown["trashed_at"]
    for method, target, body in (
        ("GET", f"{path}/content", None),
        ("GET", f"{path}/url", None),
        ("GET", link, None),
        ("PATCH", path, {"name": "x"}),
        ("POST", f"{path}/copy", {}),
        ("PUT", f"{path}/content", {}),
        ("POST", f"{path}/links", {}),
    ):
        assert (await ada.call(method, target, json=body))[0] == 404, (method, target)
    assert (await ada.call("POST", f"{path}/restore"))[0] == 200
    assert (await ada.call("POST", f"{path}/restore"))[0] == 404
    assert (await ada.call("GET", link))[1] == b"hello"
    assert (await ada.quota())["trashed"] == 0
    assert [entry["action"] for entry in await service.ledger(ada.tenant)] == ["upload", "trash", "restore"]
    await balanced(service, ada)


async def test_permanent_skips_the_trash_and_clears_it(service: Upload, billing: Billing) -> None:
    billing.trash_days = 30
    ada = service.customer()
    (_, one), (_, two) = await made(ada), await made(ada)
    assert (await ada.call("DELETE", f"{one}?permanent=true"))[0] == 204
    await ada.call("DELETE", two)
    assert (await ada.call("DELETE", f"{two}?permanent=true"))[0] == 204
    assert (await ada.quota())["used"] == 0
    await balanced(service, ada)


async def test_without_days_a_delete_frees_at_once(service: Upload) -> None:
    ada = service.customer()
    _, path = await made(ada)
    assert (await ada.call("DELETE", path))[0] == 204
    quota = await ada.quota()
    assert (quota["used"], quota["trashed"]) == (0, 0)
    assert (await ada.call("GET", path))[0] == 404


async def test_emptying(service: Upload, billing: Billing) -> None:
    billing.trash_days = 1
    ada, eve = service.customer(), service.customer()
    for who in (ada, ada, eve):
        await who.call("DELETE", (await made(who))[1])
    _, stays = await made(ada)
    status, done, _ = await ada.call("DELETE", "/api/storage/trash")
    assert (status, done) == (200, {"files": 2, "bytes": 10, "complete": True})
    assert (await ada.call("DELETE", "/api/storage/trash"))[1]["files"] == 0
    assert (await ada.call("GET", stays))[0] == 200
    assert (await eve.quota())["trashed"] == 5
    await balanced(service, ada)


async def test_a_purge_takes_what_is_due_and_nothing_else(service: Upload, billing: Billing) -> None:
    billing.trash_days = 1
    ada, eve = service.customer(), service.customer()
    (_, due), (_, later), (_, foreign), (_, live) = await made(ada), await made(ada), await made(eve), await made(ada)
    for who, path in ((ada, due), (ada, later), (eve, foreign)):
        await who.call("DELETE", path)
    past = "UPDATE stored_file SET purge_at = now() - interval '1 s' WHERE id = ANY($1::uuid[])"
    await query(service.dsn.superuser, past, [UUID(path[-36:]) for path in (due, foreign)])
    assert await purge(service) == 2
    assert await purge(service) == 0
    assert [(await ada.call("GET", path))[0] for path in (due, later, live)] == [404, 200, 200]
    assert (await eve.quota())["used"] == 0
    deleted = [entry for entry in await service.ledger(ada.tenant) if entry["action"] == "delete"]
    assert [(entry["delta"], entry["uploaded_by"] == ada.user) for entry in deleted] == [(-5, True)]
    await balanced(service, ada)
    await balanced(service, eve)


async def test_restored_or_purged_but_never_both(service: Upload, billing: Billing) -> None:
    billing.trash_days = 1
    ada = service.customer()
    files = [(await made(ada))[1] for _ in range(20)]
    await asyncio.gather(*(ada.call("DELETE", path) for path in files))
    await query(service.dsn.superuser, "UPDATE stored_file SET purge_at = now() - interval '1 s'")
    purged, *restored = await asyncio.gather(purge(service), *(ada.call("POST", f"{path}/restore") for path in files))
    kept = [path for path, (status, _, _) in zip(files, restored, strict=True) if status == 200]
    assert purged + len(kept) == 20
    for path in kept:
        assert (await ada.call("GET", f"{path}/content"))[1] == b"hello"
    assert (await ada.quota())["used"] == 5 * len(kept)
    await balanced(service, ada)


async def test_many_at_once_each_with_its_result(service: Upload) -> None:
    ada, eve = service.customer(), service.customer()
    files = [(await ada.upload(b"x"))[1] for _ in range(4)]
    foreign = (await eve.upload(b"x"))[1]
    ids = [files[0]["file_id"], files[1]["file_id"], foreign["file_id"], str(uuid4())]
    paths = [files[2]["file_path"], files[3]["file_path"], foreign["file_path"], "nowhere"]
    status, done, _ = await ada.call("POST", "/api/storage/files/delete", json={"ids": ids, "paths": paths})
    assert (status, done["deleted"]) == (200, 4)
    assert [item["result"] for item in done["items"]] == (["deleted"] * 2 + ["file_not_found"] * 2) * 2
    assert (await eve.quota())["used"] == 1
    for body in ({}, {"ids": [str(uuid4())] * 1001}, {"ids": [ids[0]] * 600, "paths": ["x"] * 600}):
        assert (await ada.call("POST", "/api/storage/files/delete", json=body))[0] == 422
    await balanced(service, ada)


async def test_a_thousand_at_once(service: Upload) -> None:
    ada = service.customer()
    template = (await ada.upload(b"x"))[1]["file_id"]
    await query(
        service.dsn.superuser,
        "INSERT INTO stored_file (id, tenant_id, path, name, size, content_type, file_type, category, sha256, "
        "created_at) SELECT gen_random_uuid(), tenant_id, 'p' || n, name, 0, content_type, file_type, category, "
        "sha256, created_at FROM stored_file, generate_series(1, 999) AS n WHERE id = $1",
        template,
    )
    await query(service.dsn.superuser, "UPDATE tenant_storage SET files = 1000")
    rows = await query(service.dsn.superuser, "SELECT id FROM stored_file")
    ids = [str(row["id"]) for row in rows]
    done = (await ada.call("POST", "/api/storage/files/delete", json={"ids": ids}))[1]
    assert done["deleted"] == 1000
    assert (await service.account(ada.tenant))["files"] == 0


async def test_of_deletions_at_once_one_succeeds(service: Upload, billing: Billing) -> None:
    for billing.trash_days in (0, 7):
        ada = service.customer()
        file, path = await made(ada)
        body = {"ids": [file]}
        answers = await asyncio.gather(
            *(ada.call("DELETE", path) for _ in range(4)),
            *(ada.call("POST", "/api/storage/files/delete", json=body) for _ in range(4)),
        )
        done = [s == 204 for s, _, _ in answers[:4]] + [
            b["items"][0]["result"] != "file_not_found" for _, b, _ in answers[4:]
        ]
        assert done.count(True) == 1
        await balanced(service, ada)


async def test_what_was_restored_since_the_look_is_not_purged(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = service.customer()
    file, path = await made(ada)
    stale = [[(ada.tenant, UUID(file))], []]

    async def looked_before(*_: object) -> list[tuple[UUID, UUID]]:
        return stale.pop(0) if stale else []

    monkeypatch.setattr(repository, "list_due", looked_before)
    assert await purge(service) == 0
    assert (await ada.call("GET", f"{path}/content"))[1] == b"hello"
