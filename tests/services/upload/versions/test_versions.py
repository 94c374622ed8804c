"""Older versions: kept as the tenant says, counted, read, brought back, removed."""

import asyncio
from typing import Any

from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.services.upload.conftest import LIMIT, SECRET, Customer, Upload


async def keeping(service: Upload, versions: int) -> tuple[Customer, str]:
    ada = service.customer()
    await ada.quota()
    status, body, _ = await ada.call("PUT", "/api/storage/settings", json={"versions_kept": versions})
    assert (status, body) == (200, {"versions_kept": versions})
    made = (await ada.upload(b"v0"))[1]
    return ada, f"/api/storage/files/{made['file_id']}"


async def replace(ada: Customer, path: str, content: bytes) -> None:
    assert (await ada.call("PUT", f"{path}/content", data=content))[0] == 200


async def versions(ada: Customer, path: str) -> list[dict[str, Any]]:
    return (await ada.call("GET", f"{path}/versions"))[1]  # type: ignore[no-any-return]


async def contents(ada: Customer, path: str) -> list[bytes]:
    return [
        (await ada.call("GET", f"{path}/versions/{version['version_id']}/content"))[1]
        for version in await versions(ada, path)
    ]


async def balanced(service: Upload, ada: Customer) -> int:
    account, ledger = await service.account(ada.tenant), await service.ledger(ada.tenant)
    rows = await query(service.dsn.superuser, "SELECT size FROM stored_file WHERE tenant_id = $1", ada.tenant)
    assert account["used"] == sum(entry["delta"] for entry in ledger) == sum(row["size"] for row in rows)
    assert account["files"] == len(rows)
    return int(account["used"])


async def test_as_many_are_kept_as_the_setting_says(service: Upload) -> None:
    ada, path = await keeping(service, 2)
    for i in range(1, 5):
        await replace(ada, path, b"v%d" % i)
    assert (await ada.call("GET", f"{path}/content"))[1] == b"v4"
    assert await contents(ada, path) == [b"v3", b"v2"]
    quota = await ada.quota()
    assert (quota["used"], quota["versions"]) == (6, 4)
    assert [file["file_id"] for file in (await ada.call("GET", "/api/storage/files"))[1]["items"]] == [path[-36:]]
    assert await balanced(service, ada) == 6


async def test_versions_are_paid_for(service: Upload) -> None:
    ada, path = await keeping(service, 5)
    await replace(ada, path, b"x" * (LIMIT // 2))
    status, problem, _ = await ada.call("PUT", f"{path}/content", data=b"y" * (LIMIT // 2))
    assert (status, problem["code"]) == (413, "quota_exceeded")
    assert len(await versions(ada, path)) == 1
    await balanced(service, ada)


async def test_a_version_comes_back_by_a_copy(service: Upload) -> None:
    ada, path = await keeping(service, 5)
    await replace(ada, path, b"v1")
    (old,) = await versions(ada, path)
    status, file, _ = await ada.call("POST", f"{path}/versions/{old['version_id']}/restore")
    assert (status, file["file_id"]) == (200, path[-36:])
    assert (await ada.call("GET", f"{path}/content"))[1] == b"v0"
    assert await contents(ada, path) == [b"v1", b"v0"]
    await balanced(service, ada)


async def test_versions_go_with_their_file_and_one_by_one(service: Upload) -> None:
    ada, path = await keeping(service, 5)
    for i in range(1, 4):
        await replace(ada, path, b"v%d" % i)
    newest = (await versions(ada, path))[0]["version_id"]
    target = f"{path}/versions/{newest}"
    answers = await asyncio.gather(*(ada.call("DELETE", target) for _ in range(3)))
    assert sorted(status for status, _, _ in answers) == [204, 404, 404]
    assert await contents(ada, path) == [b"v1", b"v0"]
    # A version is no file: by the file's routes it is not there.
    other = (await versions(ada, path))[0]["version_id"]
    for method in ("GET", "DELETE", "PATCH"):
        assert (await ada.call(method, f"/api/storage/files/{other}", json={}))[0] == 404
    assert (await ada.call("GET", f"/api/storage/files/{other}/content"))[0] == 404
    assert (await ada.call("DELETE", path))[0] == 204
    assert await balanced(service, ada) == 0
    assert (await ada.call("GET", f"{path}/versions"))[0] == 404


async def test_a_lower_setting_trims(service: Upload) -> None:
    ada, path = await keeping(service, 5)
    eve, other = await keeping(service, 5)
    for i in range(1, 5):
        await replace(ada, path, b"v%d" % i)
        await replace(eve, other, b"v%d" % i)
    await ada.call("PUT", "/api/storage/settings", json={"versions_kept": 1})
    assert len(await versions(ada, path)) == 4
    # The worker's job, here with the app's role, which would see nothing: so with the worker's.
    from services.upload.quota.service import AccountService
    from services.upload.quota.writer import AccountWriter
    from services.upload.versions.service import VersionService
    from shared.db import Database

    async with Database(service.dsn.worker, pool_size=2) as database:
        entitlements = service.app.state.services.trash._entitlements
        accounts = AccountService(database, AccountWriter(database, on_commit=lambda: None), entitlements)
        job = VersionService(database, accounts, entitlements)
        assert sum(await asyncio.gather(job.trim(), job.trim())) == 3
    assert await contents(ada, path) == [b"v3"]
    assert len(await versions(eve, other)) == 4
    # And so does the next replacement.
    await eve.call("PUT", "/api/storage/settings", json={"versions_kept": 0})
    await replace(eve, other, b"last")
    assert await versions(eve, other) == []
    assert await balanced(service, eve) == 4
    await balanced(service, ada)


async def test_only_managers_change_the_setting(service: Upload) -> None:
    ada = service.customer()
    who = Principal(kind="user", user_id=ada.user, tenant_id=ada.tenant, tenant_slug="t", role="member")
    token = sign(who, secret=SECRET, audience="upload", issuer="gateway")
    url, body = f"{service.url}/api/storage/settings", {"versions_kept": 3}
    async with service.http.put(url, json=body, headers={"stowage-internal": token}) as answer:
        assert answer.status == 403
        assert (await answer.json())["code"] == "manager_required"
    assert (await ada.call("GET", "/api/storage/settings"))[1] == {"versions_kept": 0}
    for wrong in (-1, 101, "many"):
        assert (await ada.call("PUT", "/api/storage/settings", json={"versions_kept": wrong}))[0] == 422


async def test_replacements_at_once_keep_no_more(service: Upload) -> None:
    ada, path = await keeping(service, 2)
    await asyncio.gather(*(replace(ada, path, b"w%d" % i) for i in range(8)))
    found = [(await ada.call("GET", f"{path}/content"))[1], *await contents(ada, path)]
    assert len(found) == len(set(found)) == 3
    assert await balanced(service, ada) == 6
