"""Cleaning up: the dry run says what goes, the run does exactly that, less what has changed since."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from services.upload.cleanup import repository
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload

PATH = "/api/user/storage-cleanup"


async def clean(who: Customer, **body: Any) -> dict[str, Any]:
    status, answer, _ = await who.call("POST", PATH, json=body)
    assert status == 200, answer
    return answer  # type: ignore[no-any-return]


async def store(who: Customer, content: bytes, **fields: str) -> str:
    status, made = await who.upload(content, fields=fields)
    assert status == 201, made
    return made["file_id"]  # type: ignore[no-any-return]


async def ids(who: Customer) -> set[str]:
    return {file["file_id"] for file in (await who.call("GET", "/api/storage/files"))[1]["items"]}


async def trash(service: Upload, *files: str, days: int = 0) -> None:
    await query(
        service.dsn.superuser,
        "UPDATE stored_file SET trashed_at = now() - make_interval(days => $2), purge_at = now() + interval '9 days' "
        "WHERE id::text = ANY($1::text[])",
        list(files),
        days,
    )


def by_kind(answer: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {kind["kind"]: (kind["items"], kind["bytes"]) for kind in answer["kinds"]}


async def test_the_run_is_its_dry_run(service: Upload) -> None:
    ada = service.customer()
    oldest = await store(ada, b"the same")
    copies = {await store(ada, b"the same") for _ in range(3)}
    temporary = await store(ada, b"for now", metadata='{"temporary": true}')
    gone = await store(ada, b"in the trash")
    single, empty, second = await store(ada, b"alone"), await store(ada, b""), await store(ada, b"")
    await trash(service, gone)
    plan = await clean(ada, duplicates=True, temporary=True, trash=True, abandoned=True, dry_run=True)
    assert by_kind(plan) == {"duplicates": (3, 24), "temporary": (1, 7), "trash": (1, 12)}
    assert (plan["bytes"], plan["freed_bytes"], plan["complete"], plan["ended_at"]) == (43, 0, True, None)
    assert {item["id"] for item in plan["items"]} == {*copies, temporary, gone}
    assert {item["keeps"] for item in plan["items"] if item["kind"] == "duplicates"} == {oldest}
    before = (await ada.quota())["used"]
    assert await ids(ada) == {oldest, *copies, temporary, single, empty, second}, "a dry run deletes nothing"
    late = await store(ada, b"the same")  # not in the plan
    done = await clean(ada, plan_id=plan["plan_id"])
    assert done["freed_bytes"] == plan["bytes"]
    assert all(item["outcome"] == "freed" for item in done["items"])
    assert [item["id"] for item in done["items"]] == [item["id"] for item in plan["items"]]
    assert await ids(ada) == {oldest, single, empty, second, late}
    assert (await ada.quota())["used"] == before - 43 + 8
    again = await clean(ada, plan_id=plan["plan_id"])
    assert again == done, "a plan is run once"
    entries = [entry for entry in await service.ledger(ada.tenant) if entry["action"] == "delete"]
    assert len(entries) == 5
    assert all(plan["plan_id"] in entry["metadata"] for entry in entries)
    history = (await ada.call("GET", f"{PATH}/history"))[1]["items"]
    assert [(entry["plan_id"], entry["freed_bytes"]) for entry in history] == [(plan["plan_id"], 43)]


async def test_what_changed_meanwhile_is_left_alone_and_said(service: Upload) -> None:
    ada = service.customer()
    kept = [await store(ada, content) for content in (b"one", b"two")]
    copies = [await store(ada, content) for content in (b"one", b"two")]
    restored, temporary = await store(ada, b"restored"), await store(ada, b"temporary", metadata='{"temporary": true}')
    await trash(service, restored)
    plan = await clean(ada, duplicates=True, temporary=True, trash=True, dry_run=True)
    assert len(plan["items"]) == 4
    await ada.call("DELETE", f"/api/storage/files/{kept[0]}")  # so its copy is the only one left
    await query(service.dsn.superuser, "UPDATE stored_file SET trashed_at = NULL, purge_at = NULL")
    await query(service.dsn.superuser, "UPDATE stored_file SET metadata = '{}' WHERE id::text = $1", temporary)
    done = await clean(ada, plan_id=plan["plan_id"])
    assert {item["id"]: item["outcome"] for item in done["items"]} == {
        copies[0]: "changed",
        copies[1]: "freed",
        restored: "changed",
        temporary: "changed",
    }
    assert await ids(ada) == {kept[1], copies[0], restored, temporary}


async def test_a_temporary_file_is_nobodys_copy_to_keep(service: Upload) -> None:
    ada = service.customer()
    await store(ada, b"content", metadata='{"temporary": true}')
    kept = await store(ada, b"content")
    await store(ada, b"content")
    await clean(ada, duplicates=True, temporary=True)
    assert await ids(ada) == {kept}


async def test_the_last_copy_survives_whoever_deletes_at_the_same_time(service: Upload) -> None:
    ada = service.customer()
    for number in range(10):
        content = b"content %d" % number
        first, second = await store(ada, content), await store(ada, content)
        plan = await clean(ada, duplicates=True, dry_run=True)
        answers = await asyncio.gather(
            clean(ada, plan_id=plan["plan_id"]), ada.call("DELETE", f"/api/storage/files/{first}")
        )
        left = await ids(ada)
        outcome = answers[0]["items"][0]["outcome"]
        # Whichever came first: the copy goes only while the first one is there.
        assert left == (set() if outcome == "freed" else {second})
        for file in left:
            await ada.call("DELETE", f"/api/storage/files/{file}")


async def test_age(service: Upload) -> None:
    ada = service.customer()
    old, young = await store(ada, b"old"), await store(ada, b"young")
    await trash(service, old, days=10)
    await trash(service, young, days=1)
    plan = await clean(ada, trash=True, temporary=True, older_than_days=7, dry_run=True)
    assert [item["id"] for item in plan["items"]] == [old]


async def test_abandoned_uploads_give_back_what_they_hold(service: Upload) -> None:
    ada = service.customer()
    await ada.quota()
    for seconds in (-1, 3600):
        await query(
            service.dsn.superuser,
            "INSERT INTO reservation (id, tenant_id, size, expires_at) "
            "VALUES ($1, $2, 100, now() + $3 * interval '1 s')",
            uuid4(),
            ada.tenant,
            seconds,
        )
    await query(service.dsn.superuser, "UPDATE tenant_storage SET reserved = 200")
    done = await clean(ada, abandoned=True)
    assert by_kind(done) == {"abandoned": (1, 100)}
    assert (await ada.quota())["reserved"] == 100


async def test_an_upload_that_is_renewed_meanwhile_keeps_what_it_holds(service: Upload) -> None:
    """The clean-up waits for the account while the next piece of the upload, which has it, renews."""
    ada = service.customer()
    await ada.quota()
    await query(
        service.dsn.superuser,
        "WITH account AS (UPDATE tenant_storage SET reserved = 100) INSERT INTO reservation (id, tenant_id, size, "
        "expires_at) VALUES ($1, $2, 100, now() - interval '1 s')",
        uuid4(),
        ada.tenant,
    )
    plan = await clean(ada, abandoned=True, dry_run=True)
    database = service.app.state.services.files._database
    async with database.transaction(ada.tenant) as connection:
        await connection.execute("SELECT FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE", ada.tenant)
        cleaning = asyncio.create_task(clean(ada, plan_id=plan["plan_id"]))
        while not await query(service.dsn.superuser, "SELECT FROM pg_locks WHERE NOT granted"):
            assert not cleaning.done(), "it did not wait"
            await asyncio.sleep(0.01)
        await connection.execute("UPDATE reservation SET expires_at = now() + interval '1 hour'")
    assert [item["outcome"] for item in (await cleaning)["items"]] == ["changed"]
    assert (await ada.quota())["reserved"] == 100
    assert await query(service.dsn.superuser, "SELECT FROM reservation")


async def test_a_run_that_died_goes_on_and_says_what_it_had_freed(
    service: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = service.customer()
    for _ in range(4):
        await store(ada, b"content")
    plan = await clean(ada, duplicates=True, dry_run=True)
    decide = repository.decide

    async def die(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(repository, "decide", die)
    status, *_ = await ada.call("POST", PATH, json={"plan_id": plan["plan_id"]})
    assert status == 500
    assert len(await ids(ada)) == 1
    monkeypatch.setattr(repository, "decide", decide)
    done = await clean(ada, plan_id=plan["plan_id"])
    assert done["freed_bytes"] == plan["bytes"]


async def test_a_plan_has_an_end(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "ITEMS", 3)
    ada = service.customer()
    for _ in range(6):
        await store(ada, b"content")
    done = await clean(ada, duplicates=True)
    assert (by_kind(done), done["complete"]) == ({"duplicates": (3, 21)}, False)
    done = await clean(ada, duplicates=True)
    assert (by_kind(done), done["complete"]) == ({"duplicates": (2, 14)}, True)


async def test_pages(service: Upload) -> None:
    ada = service.customer()
    for _ in range(6):
        await store(ada, b"content")
    status, first, _ = await ada.call("POST", f"{PATH}?limit=3", json={"duplicates": True, "dry_run": True})
    assert (status, len(first["items"])) == (200, 3)
    rest = (await ada.call("GET", f"{PATH}/{first['plan_id']}?cursor={first['next_cursor']}"))[1]
    assert (len(rest["items"]), rest["next_cursor"]) == (2, None)
    assert not {item["id"] for item in first["items"]} & {item["id"] for item in rest["items"]}


async def test_a_strangers_plan_does_not_exist(service: Upload) -> None:
    ada, eve = service.customer(), service.customer()
    await store(ada, b"content")
    await store(ada, b"content")
    plan = (await clean(ada, duplicates=True, dry_run=True))["plan_id"]
    assert (await eve.call("GET", f"{PATH}/{plan}"))[0] == 404
    assert (await eve.call("POST", PATH, json={"plan_id": plan}))[1]["code"] == "cleanup_not_found"
    assert len(await ids(ada)) == 2


async def test_nothing_asked_for(service: Upload) -> None:
    status, answer, _ = await service.customer().call("POST", PATH, json={"dry_run": True})
    assert (status, answer["code"]) == (422, "nothing_to_clean_up")


async def test_storage_info(service: Upload) -> None:
    ada = service.customer()
    assert (await ada.call("GET", "/api/user/storage-info"))[1]["used"] == 0
    gone = await store(ada, b"in the trash")
    await store(ada, b"photo", category="properties")
    await trash(service, gone)
    await clean(ada, duplicates=True)
    status, answer, _ = await ada.call("GET", "/api/user/storage-info")
    assert status == 200
    assert (answer["plan"], answer["used"], answer["files"], answer["reserved"]) == ("free", 17, 2, 0)
    assert answer["trash"] == {"files": 1, "bytes": 12}
    assert answer["versions"] == {"files": 0, "bytes": 0}
    assert answer["last_cleanup"]
    assert answer["categories"] == [
        {"category": "documents", "files": 1, "bytes": 12},
        {"category": "properties", "files": 1, "bytes": 5},
    ]
