"""Every side broken by hand, found, and put right by entries of the ledger or left alone; on the real service."""

import asyncio
import json
import os
import signal
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.upload.erasure import repository as erasures
from services.upload.reconciliation import service as reconciling
from services.upload.reconciliation.objects import Listing, StoreWalk
from services.upload.reconciliation.rules import Objects
from services.upload.upkeep import Upkeep, open_upkeep
from shared.clock import SystemClock
from shared.db import Database
from shared.db.migrate import ROOT
from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.services.upload.conftest import SECRET, Billing, Customer, Upload, beside, settings_for
from tests.services.upload.images.conftest import form, picture
from tests.services.upload.ledger.test_download import checked, fetched, internal, proof_of, worked

ADMIN: dict[str, Any] = {"kind": "user", "user_id": uuid4(), "is_admin": True}
DOCUMENTS = ("document", "documents")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks are as far apart as they must be to be two."""
    monkeypatch.setattr(reconciling, "APART", 0.05)


async def ask(ada: Customer, method: str = "POST", tail: str = "", **who: Any) -> tuple[int, Any]:
    token = sign(Principal(**(who or {"kind": "service"})), secret=SECRET, audience="upload", issuer="usage")
    path = f"/internal/reconciliation/{ada.tenant}{tail}"
    status, body, _ = await ada.call(method, path, headers={"stowage-internal": token})
    return status, body


async def reconciled(ada: Customer, *, repair: bool = False) -> Any:
    status, body = await ask(ada, tail="?repair=true" if repair else "")
    assert status == 200, body
    return body


async def by_hand(service: Upload, *statements: str) -> None:
    """As somebody with a superuser's rights and a bad day; no trigger stands in the way."""
    connection = await asyncpg.connect(service.dsn.superuser)
    try:
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def apart(body: Any) -> list[tuple[str, str, str | None, int, int]]:
    return [(d["side"], d["wrong"], d["category"], d["bytes"], d["files"]) for d in body["differences"]]


def entries(body: Any) -> list[tuple[str, int, int]]:
    return [(r["category"], r["delta_bytes"], r["delta_files"]) for r in body["repaired"]]


async def agrees(service: Upload, ada: Customer, folder: Path) -> None:
    """Fold, account, rows and store are one again, and the script that tenants have says so, too."""
    body = await reconciled(ada)
    assert body["differences"] == []
    assert body["ledger"] == body["account"] == body["files"]
    proof = await internal(ada, "proof")
    assert (proof["bytes"], proof["files"]) == (proof["store"]["bytes"], proof["store"]["files"])
    assert proof["store"]["missing"] == []
    ledger = await fetched(ada)
    status, said = await checked(folder, ledger, await proof_of(ada))
    assert (status, said.splitlines()[-1]) == (0, "as the proof says"), said
    account = await service.account(ada.tenant)
    assert (account["used"], account["files"], account["seq"]) == (proof["bytes"], proof["files"], len(ledger))


async def test_all_sides_at_one_position(service: Upload) -> None:
    ada = await worked(service)
    body = await reconciled(ada)
    assert (body["position"], body["differences"], body["repaired"]) == (7, [], [])
    assert body["ledger"] == body["account"] == body["files"] == {"bytes": 12, "files": 3}
    assert body["store"] == {"bytes": 12, "files": 3, "missing": [], "orphans_bytes": 0}
    assert [(kind["category"], kind["files"], kind["store"]) for kind in body["by_category"]] == [
        ("documents", {"bytes": 9, "files": 2}, {"bytes": 9, "files": 2}),
        ("properties", {"bytes": 3, "files": 1}, {"bytes": 3, "files": 1}),
    ]
    assert await ask(ada, "GET") == (200, body)


async def test_what_takes_room_and_is_in_no_list(service: Upload, billing: Billing) -> None:
    billing.trash_days = 30
    ada = service.customer()
    ids = [(await ada.upload(b"x" * n, name=f"{n}"))[1]["file_id"] for n in (10, 20, 30)]
    await query(service.dsn.superuser, "UPDATE tenant_storage SET versions_kept = 2")
    assert (await ada.call("DELETE", f"/api/storage/files/{ids[0]}"))[0] == 204
    await ada.call("PUT", f"/api/storage/files/{ids[1]}/content", data=b"newer")
    said = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": "9",
        "Upload-Metadata": "filename YS50eHQ=,category ZG9jdW1lbnRz",
    }
    _, _, begun = await ada.call("POST", "/api/storage/uploads", headers=said)
    said = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    path = begun["location"].removeprefix(service.url)
    assert (await ada.call("PATCH", path, headers=said, data=b"four"))[0] == 204
    orphan = service.root / "blobs" / "customers" / str(ada.tenant) / "documents" / f"{uuid4()}.txt"
    orphan.write_bytes(b"lost")
    os.utime(orphan, (0, 0))
    orphan.with_name(f"{uuid4()}.txt").write_bytes(b"perhaps a move that is under way")
    thumbnail = "INSERT INTO thumbnail (file_id, sha256, size, tenant_id, location, path, bytes) VALUES ($1, '', 64, $2, 'default', 'd', 6)"  # noqa: E501
    await query(service.dsn.superuser, thumbnail, UUID(ids[2]), ada.tenant)
    export = "INSERT INTO export (id, tenant_id, wanted, status, size) VALUES ($1, $2, '{}', 'ready', 8)"
    await query(service.dsn.superuser, export, uuid4(), ada.tenant)
    body = await reconciled(ada)
    assert body["differences"] == []
    assert body["hidden"] == {
        "trash": 10,
        "versions": 20,
        "reserved": 9,
        "resumable": 4,
        "staged": 4,
        "abandoned": 0,
        "orphans": 4,
        "exports": 8,
        "thumbnails": 6,
        "deleted": 0,
    }
    assert body["store"]["orphans_bytes"] == 4
    stranger = service.customer()
    await stranger.upload(b"theirs")
    assert sum((await reconciled(stranger))["hidden"].values()) == 0, "each has their own"


async def test_a_wrong_account_is_said_and_put_right_when_asked(service: Upload, tmp_path: Path) -> None:
    ada = await worked(service)
    upload = uuid4()
    held = "INSERT INTO reservation (id, tenant_id, size, expires_at) VALUES ($1, $2, 50, now() + interval '1 hour')"
    await query(service.dsn.superuser, held, upload, ada.tenant)
    await by_hand(service, "UPDATE tenant_storage SET used = used + 100, files = files + 1, reserved = 50")
    for _ in range(2):
        body = await reconciled(ada)
        assert apart(body) == [("account", "account", None, 100, 1)]
        assert body["repaired"] == []
    assert (await ada.quota())["used"] == 112, "nobody asked"
    body = await reconciled(ada, repair=True)
    assert entries(body) == [("", 0, 0)]
    assert body["repaired"][0]["reason"] == "The account had 112 bytes in 4 files, the ledger 12 bytes in 3 files."
    assert await ask(ada, "GET") == (200, body)
    quota = await ada.quota()
    assert (quota["used"], quota["reserved"]) == (12, 50), "what uploads hold is theirs"
    [adjusted] = (await ada.call("GET", "/api/storage/transactions?action=adjust"))[1]["items"]
    assert (adjusted["seq"], adjusted["file_id"], adjusted["file_name"], adjusted["delta"]) == (8, None, "", 0)
    assert adjusted["metadata"] == {"reason": body["repaired"][0]["reason"], "delta_files": 0}
    table = (await ada.call("GET", "/api/storage/transactions?format=csv"))[1].decode().splitlines()
    assert table[8].split(",")[2:7] == ["adjust", "", "", "", "0"]
    await agrees(service, ada, tmp_path)


async def test_a_reservation_that_was_lost_is_said(service: Upload) -> None:
    ada = await worked(service)
    await by_hand(service, "UPDATE tenant_storage SET reserved = 7")
    body = await reconciled(ada, repair=True)
    assert apart(body) == [("reserved", "account", None, 7, 0)]
    assert (await ada.quota())["reserved"] == 7


async def test_images_of_a_month_are_those_of_the_ledger(service: Upload, billing: Billing) -> None:
    """Uploads are refused by the account's number: it is said when it is not the ledger's, and counted again."""
    ada, bob = await photographed(service), await photographed(service)
    [month] = await images_of(service, ada)
    mine = f"tenant_id = '{ada.tenant}'"
    for spoil, said in (
        ("UPDATE image_month SET used = 9, bought = 7", {(str(month), 7)}),
        ("UPDATE image_month SET used = 1, bought = 1", {(str(month), -1)}),
        ("DELETE FROM image_month", {(str(month), -2)}),
        ("UPDATE image_month SET month = '2020-01-01'", {(str(month), -2), ("2020-01-01", 2)}),
    ):
        await by_hand(service, f"{spoil} WHERE {mine}")
        body = await reconciled(ada)
        assert {(d["month"], d["files"]) for d in body["differences"]} == said
        assert {(d["side"], d["wrong"]) for d in body["differences"]} == {("images", "account")}
        assert "recounted" not in body, "nobody asked"
        body = await reconciled(ada, repair=True)
        assert (set(body["recounted"]), body["repaired"]) == ({m for m, _ in said}, [])
        assert {month: used for month, used in (await images_of(service, ada)).items() if used} == {month: 2}
        assert (await reconciled(ada))["differences"] == []
    await by_hand(service, f"UPDATE image_month SET used = 5 WHERE used > 0 AND {mine}")
    await ada.upload(b"she moves")
    settings = settings_for(service.dsn.worker, service.root, billing.url, reconciliation_repair=True)
    async with open_upkeep(settings) as upkeep:
        await upkeep.nightly.run()
        await upkeep.nightly.measure()
        assert drift() == {"images": (0, 3)}
        await asyncio.sleep(reconciling.APART)
        assert (await upkeep.nightly.run() or {})["repaired"] == 1
        await upkeep.nightly.measure()
        assert drift() == {}
    assert await images_of(service, ada) == {month: 2, date(2020, 1, 1): 0}
    assert await images_of(service, bob) == {month: 2}
    assert (await reconciled(bob))["differences"] == []


async def photographed(service: Upload) -> Customer:
    """Two images, one of them deleted since, which gives nothing back."""
    ada = service.customer()
    for seed in range(2):
        status, made, _ = await ada.call("POST", "/api/images/upload", data=form(picture(seed), {}))
        assert status == 201, made
    assert (await ada.call("DELETE", f"/api/storage/files/{made['image_id']}"))[0] == 204
    return ada


async def images_of(service: Upload, ada: Customer) -> dict[date, int]:
    rows = await query(service.dsn.superuser, "SELECT month, used FROM image_month WHERE tenant_id = $1", ada.tenant)
    return {row["month"]: row["used"] for row in rows}


async def test_a_file_that_was_filed_elsewhere_by_hand(service: Upload, tmp_path: Path) -> None:
    ada = await worked(service)
    await by_hand(service, "UPDATE stored_file SET category = 'avatars' WHERE size = 5")
    body = await reconciled(ada)
    assert apart(body) == [("ledger", "ledger", "avatars", -5, -1), ("ledger", "ledger", "documents", 5, 1)]
    body = await reconciled(ada, repair=True)
    assert entries(body) == [("avatars", 5, 1), ("documents", -5, -1)], "what comes before what goes"
    assert body["repaired"][1]["reason"] == "The ledger had 9 bytes in 2 files; there are 4 bytes in 1 files."
    last = [json.loads(entry["body"]) for entry in (await fetched(ada))[-2:]]
    assert [(event["partial"], event["id"]) for event in last] == [(True, body["id"]), (False, body["id"])]
    await agrees(service, ada, tmp_path)


async def test_a_file_that_came_without_an_entry(service: Upload, tmp_path: Path) -> None:
    ada = await worked(service)
    path = f"customers/{ada.tenant}/documents/{uuid4()}.txt"
    (service.root / "blobs" / path).write_bytes(b"from nowhere")
    await by_hand(
        service,
        f"INSERT INTO stored_file (id, tenant_id, path, name, size, content_type, file_type, category, sha256, created_at)"  # noqa: E501
        f" VALUES ('{uuid4()}', '{ada.tenant}', '{path}', 'n', 12, 'text/plain', 'document', 'documents', '', now())",
    )
    body = await reconciled(ada, repair=True)
    assert apart(body) == [("ledger", "ledger", "documents", -12, -1), ("account", "account", None, -12, -1)]
    assert entries(body) == [("documents", 12, 1)]
    assert (await ada.quota())["used"] == 24
    await agrees(service, ada, tmp_path)
    await ada.upload(b"goes on")
    await agrees(service, ada, tmp_path)


async def test_a_row_that_is_gone_is_not_made_right_while_its_object_is_there(service: Upload, tmp_path: Path) -> None:
    ada = await worked(service)
    rows = await query(service.dsn.superuser, "SELECT path FROM stored_file WHERE size = 5")
    await by_hand(service, "DELETE FROM stored_file WHERE size = 5")
    body = await reconciled(ada, repair=True)
    assert apart(body) == [("ledger", "files", "documents", 5, 1), ("account", "files", None, 5, 1)]
    assert body["repaired"] == []
    (service.root / "blobs" / rows[0]["path"]).unlink()
    body = await reconciled(ada, repair=True)
    assert apart(body) == [("ledger", "ledger", "documents", 5, 1), ("account", "account", None, 5, 1)]
    assert entries(body) == [("documents", -5, -1)]
    await agrees(service, ada, tmp_path)


@pytest.mark.parametrize("break_it", ["row", "object", "gone"])
async def test_what_the_store_contradicts_is_said_and_left(service: Upload, break_it: str) -> None:
    ada = await worked(service)
    [row] = await query(service.dsn.superuser, "SELECT id, path FROM stored_file WHERE size = 5")
    blob = service.root / "blobs" / row["path"]
    if break_it == "row":
        await by_hand(service, "UPDATE stored_file SET size = 999 WHERE size = 5")
        expected = [
            ("ledger", "files", "documents", -994, 0),
            ("account", "files", None, -994, 0),
            ("objects", "files", "documents", -994, 0),
        ]
    elif break_it == "object":
        blob.write_bytes(b"12")
        expected = [("objects", "objects", "documents", -3, 0)]
    else:
        blob.unlink()
        expected = [("objects", "objects", "documents", -5, -1)]
    body = await reconciled(ada, repair=True)
    assert apart(body) == expected
    assert (body["repaired"], body["store"]["missing"]) == ([], [row["path"]])
    assert len(await query(service.dsn.superuser, "SELECT FROM stored_file WHERE id = $1", row["id"])) == 1
    assert len(await fetched(ada)) == 7


async def test_one_kind_is_put_right_beside_one_that_is_doubted(service: Upload) -> None:
    ada = await worked(service)
    await by_hand(
        service,
        "UPDATE stored_file SET category = 'avatars' WHERE category = 'properties'",
        "UPDATE stored_file SET size = 999 WHERE size = 5",
        "UPDATE tenant_storage SET used = 1",
    )
    body = await reconciled(ada, repair=True)
    assert entries(body) == [("avatars", 3, 1), ("properties", -3, -1), ("", 0, 0)]
    assert (await service.account(ada.tenant))["used"] == 12, "what the ledger says"
    assert {(d[0], d[2]) for d in apart(await reconciled(ada))} == {
        ("ledger", "documents"),
        ("account", None),
        ("objects", "documents"),
    }


async def test_nothing_is_built_on_a_ledger_that_was_altered(service: Upload) -> None:
    ada, bob = await worked(service), await worked(service)
    await by_hand(
        service, f"UPDATE storage_transaction SET file_size = 50 WHERE seq = 4 AND tenant_id = '{ada.tenant}'"
    )
    body = await reconciled(ada, repair=True)
    assert ("columns", "ledger", None, 0, 1) in apart(body)
    assert ("ledger", "ledger", "documents", 46, 0) in apart(body)
    assert [d["seq"] for d in body["differences"] if d["side"] == "columns"] == [4]
    body_of = f"replace(body, '\"size\":4', '\"size\":5') WHERE seq = 4 AND tenant_id = '{bob.tenant}'"
    await by_hand(service, f"UPDATE storage_transaction SET body = {body_of}", "UPDATE tenant_storage SET used = 1")
    altered = await reconciled(bob, repair=True)
    assert ("chain", "ledger", None, 0, 4) in apart(altered)
    assert [d["seq"] for d in altered["differences"] if d["side"] == "chain"] == [4]
    assert body["repaired"] == altered["repaired"] == []
    assert {entry["action"] for tenant in (ada, bob) for entry in await service.ledger(tenant.tenant)} == {
        *("upload", "replace", "move", "delete")
    }


@pytest.mark.parametrize(
    "change",
    [
        *("delta = delta + 1", "owner = gen_random_uuid()", "project_id = gen_random_uuid()"),
        *("previous_owner = gen_random_uuid()", "previous_project_id = gen_random_uuid()"),
        *("is_version = NOT is_version", "was_trashed = NOT was_trashed", "image_month = '2026-11-01'"),
    ],
)
async def test_no_column_says_other_than_the_body(service: Upload, change: str) -> None:
    ada = await worked(service)
    await by_hand(service, f"UPDATE storage_transaction SET {change} WHERE seq = 4 AND tenant_id = '{ada.tenant}'")
    body = await reconciled(ada, repair=True)
    assert [d["seq"] for d in body["differences"] if d["side"] == "columns"] == [4]
    assert body["repaired"] == []


async def test_a_checkpoint_that_drifts_is_found_and_repairs_nothing(service: Upload, upkeep: Upkeep) -> None:
    ada = await worked(service)
    await upkeep.jobs.run("reconciliation")
    kinds = '[["document", "documents", 90, 2]]'
    await by_hand(service, f"UPDATE reconciliation_checkpoint SET kinds = '{kinds}', drift = '[[\"ledger\", 1, 1]]'")
    report = await upkeep.nightly._reconciler.glance(ada.tenant, whole=False)
    assert report is not None
    assert report.differences[0].side == "ledger", "as far as the checkpoint tells"
    body = await reconciled(ada, repair=True)
    assert {d[0] for d in apart(body)} == {"checkpoint"}
    assert body["repaired"] == []
    assert (await reconciled(ada))["differences"] == []


async def test_a_moments_state_is_never_repaired(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await worked(service)
    used = [100]

    async def meanwhile(_seconds: float) -> None:
        used.append(used[-1] + 1)
        await by_hand(service, f"UPDATE tenant_storage SET used = {used[-1]}")

    await by_hand(service, "UPDATE tenant_storage SET used = 100")
    monkeypatch.setattr("services.upload.reconciliation.service.asyncio.sleep", meanwhile)
    for _ in range(2):
        assert (await reconciled(ada, repair=True))["repaired"] == []
        await meanwhile(0)
    monkeypatch.undo()
    assert len(await fetched(ada)) == 7


async def test_work_goes_on_and_nothing_is_found(service: Upload, upkeep: Upkeep) -> None:
    """Uploads, replacements, moves and deletions all the time, with the garbage of them removed at once."""
    ada = service.customer()
    await ada.upload(b"first")
    ended = asyncio.Event()

    async def works(number: int) -> int:
        done = 0
        while not ended.is_set():
            _, made = await ada.upload(b"x" * (number * 7 + done % 5), name=f"{number}-{done}")
            file = f"/api/storage/files/{made['file_id']}"
            await ada.call("PUT", f"{file}/content", data=b"newer")
            await ada.call("PATCH", file, json={"category": "properties", "entity_id": "e"})
            if done % 3:
                await ada.call("DELETE", file)
            await upkeep.jobs.jobs["garbage"].run()
            done += 1
        return done

    workers = [asyncio.create_task(works(number)) for number in range(4)]
    bodies = [await reconciled(ada, repair=True) for _ in range(12)]
    ended.set()
    assert min(await asyncio.gather(*workers)) > 0
    assert len({body["position"] for body in bodies}) > 6, "it moved meanwhile"
    assert [body["differences"] for body in bodies] == [[]] * 12
    assert {body["store"]["orphans_bytes"] for body in bodies} == {0}
    assert "adjust" not in {entry["action"] for entry in await service.ledger(ada.tenant)}


async def test_what_comes_and_goes_between_two_steps(
    service: Upload, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await worked(service)
    walk, match, soon_gone = StoreWalk.walk, StoreWalk.match, []

    async def then_upload(self: StoreWalk, tenant: UUID) -> Listing | None:
        listing = await walk(self, tenant)
        await ada.upload(b"stored since")
        soon_gone.append((await ada.upload(b"and soon gone"))[1]["file_id"])
        return listing

    async def first_delete(self: StoreWalk, *said: Any) -> Objects | None:
        await ada.call("DELETE", f"/api/storage/files/{soon_gone[0]}")
        await upkeep.jobs.jobs["garbage"].run()
        return await match(self, *said)

    monkeypatch.setattr(StoreWalk, "walk", then_upload)
    monkeypatch.setattr(StoreWalk, "match", first_delete)
    body = await reconciled(ada)
    assert body["differences"] == []
    assert (body["store"]["bytes"], body["store"]["files"], body["position"]) == (12 + 12 + 13, 5, 9)


async def test_what_was_apart_stays_so_while_work_goes_on_and_is_put_right(service: Upload, tmp_path: Path) -> None:
    ada = await worked(service)
    await by_hand(service, "UPDATE tenant_storage SET used = used + 100")
    uploads = [asyncio.create_task(ada.upload(b"more", name=f"m{n}")) for n in range(30)]
    body = await reconciled(ada, repair=True)
    assert {status for status, _ in await asyncio.gather(*uploads)} == {201}
    assert entries(body) == [("", 0, 0)]
    await agrees(service, ada, tmp_path)
    assert (await ada.quota())["used"] == 12 + 30 * 4


async def test_two_at_once_repair_once(service: Upload, tmp_path: Path) -> None:
    ada = await worked(service)
    await by_hand(service, "UPDATE stored_file SET category = 'avatars' WHERE size = 5")
    answers = await asyncio.gather(*(ask(ada, tail="?repair=true") for _ in range(4)))
    assert {status for status, _ in answers} == {200, 409}
    assert {body["code"] for status, body in answers if status == 409} == {"reconciliation_running"}
    assert len(await fetched(ada)) == 9
    await agrees(service, ada, tmp_path)


async def test_killed_before_the_commit_nothing_is_half_done(service: Upload, billing: Billing, tmp_path: Path) -> None:
    ada = await worked(service)
    await by_hand(service, "UPDATE tenant_storage SET used = 100")
    assert (await job(service, billing))[1]["differing"] == 1
    await query(service.dsn.superuser, "UPDATE reconciliation_checkpoint SET gap_since = now() - interval '1 hour'")
    assert await job(service, billing, FAULT="upload.adjusting") == (-signal.SIGKILL, None)
    assert len(await fetched(ada)) == 7
    assert (await service.account(ada.tenant))["used"] == 100
    assert [item["repaired"] for item in await listed(ada)] == [[]] * 2
    assert (await job(service, billing))[1] == {"looked": 1, "differing": 1, "repaired": 1, "failed": 0}
    await agrees(service, ada, tmp_path)


async def job(service: Upload, billing: Billing, **more: str) -> tuple[int, Any]:
    """The command, in a process of its own, which repairs."""
    environment = beside(service, billing) | {"RECONCILIATION_REPAIR": "true"} | more
    words = ("-m", "services.upload.jobs", "run", "reconciliation")
    ran = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=ROOT, env=environment, stdout=-1)
    out, _ = await ran.communicate()
    return ran.returncode or 0, json.loads(out) if out else None


async def listed(ada: Customer, tail: str = "", **who: Any) -> list[Any]:
    status, body = await admin(ada, f"?tenant={ada.tenant}{tail}", **who)
    assert status == 200, body
    return list(body["items"])


async def admin(ada: Customer, tail: str, **who: Any) -> tuple[int, Any]:
    token = sign(Principal(**{**ADMIN, **who}), secret=SECRET, audience="upload", issuer="gateway")
    path = f"/api/admin/upload/reconciliations{tail}"
    status, body, _ = await ada.call("GET", path, headers={"stowage-internal": token})
    return status, body


async def test_only_who_moved_is_looked_at(service: Upload, upkeep: Upkeep) -> None:
    tenants = [service.customer() for _ in range(3)]
    for tenant in tenants:
        await tenant.upload(b"one")
    run = upkeep.nightly.run
    assert await run() == {"looked": 3, "differing": 0, "repaired": 0, "failed": 0}
    assert await run() is None
    await tenants[1].upload(b"another")
    assert (await run() or {})["looked"] == 1
    [before] = await listed(tenants[1])
    assert (before["position"], before["ledger"], before["store"]) == (2, {"bytes": 10, "files": 2}, None)
    await tenants[1].upload(b"third")
    assert await run(timedelta(hours=1)) is None, "it was looked at just now"
    await query(service.dsn.superuser, "UPDATE reconciliation_checkpoint SET whole_at = now() - interval '8 days'")
    assert (await run() or {})["looked"] == 3, "the rest has its turn, too"
    assert await run() is None


async def test_the_fold_goes_on_from_the_checkpoint(service: Upload, upkeep: Upkeep) -> None:
    """What was altered behind the checkpoint is not read again until all of it is."""
    ada = await worked(service)
    await upkeep.nightly.run()
    await by_hand(service, "UPDATE storage_transaction SET file_size = 50 WHERE seq = 4")
    await ada.upload(b"more")
    assert await upkeep.nightly.run() == {"looked": 1, "differing": 0, "repaired": 0, "failed": 0}
    await query(service.dsn.superuser, "UPDATE reconciliation_checkpoint SET whole_at = now() - interval '8 days'")
    assert (await upkeep.nightly.run() or {})["differing"] == 1
    assert {d["side"] for d in (await listed(ada))[0]["differences"]} == {"ledger", "checkpoint"}


@pytest.mark.parametrize("repair", [False, True])
async def test_by_night(service: Upload, billing: Billing, tmp_path: Path, *, repair: bool) -> None:
    ada = await worked(service)
    await by_hand(service, "UPDATE stored_file SET category = 'avatars' WHERE size = 5")
    settings = settings_for(service.dsn.worker, service.root, billing.url, reconciliation_repair=repair)
    async with open_upkeep(settings) as upkeep:
        assert await upkeep.nightly.run() == {"looked": 1, "differing": 1, "repaired": 0, "failed": 0}
        await upkeep.nightly.measure()
        assert drift() == {"ledger": (10, 2)}
        await asyncio.sleep(reconciling.APART)
        again = {"looked": 1, "differing": 1, "repaired": int(repair), "failed": 0}
        assert await upkeep.nightly.run() == again, "it did not move, but it did not agree"
        await upkeep.nightly.measure()
        assert drift() == ({} if repair else {"ledger": (10, 2)})
    if repair:
        await agrees(service, ada, tmp_path)
    else:
        assert len(await fetched(ada)) == 7


def drift() -> dict[str, tuple[float, float]]:
    from services.upload.reconciliation.nightly import BYTES, FILES, SIDES

    told = {side: (BYTES.labels(side)._value.get(), FILES.labels(side)._value.get()) for side in SIDES}
    return {side: amounts for side, amounts in told.items() if amounts != (0, 0)}


async def test_what_the_findings_know_is_said_without_walking(service: Upload, upkeep: Upkeep) -> None:
    ada = await worked(service)
    [row] = await query(service.dsn.superuser, "SELECT path FROM stored_file WHERE size = 5")
    (service.root / "blobs" / row["path"]).unlink()
    await upkeep.jobs.run("missing")
    await upkeep.nightly.run()
    assert apart((await listed(ada))[0]) == [("objects", "objects", "documents", -5, -1)]


async def test_by_day_there_is_nothing_to_do(upkeep: Upkeep) -> None:
    class Noon(SystemClock):
        def now(self) -> Any:
            return super().now().replace(hour=12)

    upkeep.nightly._clock = Noon()
    assert await upkeep.nightly.turn() is None
    upkeep.nightly._hour = 9
    assert await upkeep.nightly.turn() is None  # night, and nobody to look at
    assert (await upkeep.jobs.run("reconciliation")) is None


async def test_kept_and_listed(service: Upload) -> None:
    ada, eve = await worked(service), await worked(service)
    first = await reconciled(ada)
    second = await reconciled(ada)
    assert [item["id"] for item in await listed(ada)] == [second["id"]] != [first["id"]], "agreeing, the newest will do"
    await by_hand(service, f"UPDATE tenant_storage SET used = 1 WHERE tenant_id = '{ada.tenant}'")
    third, fourth = await reconciled(ada), await reconciled(ada, repair=True)
    last = await reconciled(ada)
    await reconciled(eve)
    assert await listed(ada) == [last, fourth, third]
    assert await listed(ada, "&differing=true") == [fourth, third]
    assert await listed(ada, "&differing=false") == [last]
    status, page = await admin(ada, "?limit=2")
    assert (status, [item["tenant_id"] for item in page["items"]]) == (200, [str(eve.tenant), str(ada.tenant)])
    _, rest = await admin(ada, f"?cursor={page['next_cursor']}")
    assert rest["items"] == [fourth, third]
    await query(service.dsn.superuser, "UPDATE reconciliation SET at = at - interval '91 days' WHERE differing")
    last = await reconciled(ada)
    assert await listed(ada) == [last]
    async with Database(service.dsn.app) as database, database.transaction(eve.tenant) as connection:
        assert await connection.fetchval("SELECT count(*) FROM reconciliation") == 1
        await connection.execute("SELECT set_config('app.staff', 'reconciliations', true)")
        assert await connection.fetchval("SELECT count(*) FROM reconciliation") == 2
        assert await connection.execute("UPDATE reconciliation SET differing = true") == "UPDATE 1", "staff only reads"


async def test_who_may_ask_and_what_for(service: Upload) -> None:
    ada = await worked(service)
    nobody = service.customer()
    for method, code in (("POST", "account_not_found"), ("GET", "reconciliation_not_found")):
        status, body = await ask(nobody, method)
        assert (status, body["code"]) == (404, code)
        people: list[dict[str, Any]] = [
            ADMIN,
            {"kind": "user", "user_id": uuid4(), "tenant_id": ada.tenant, "role": "owner"},
        ]
        for who in people:
            status, body = await ask(ada, method, **who)
            assert (status, body["code"]) == (404, "not_found")
    assert (await ask(ada, tail="?repair=perhaps"))[0] == 422
    assert (await ask(ada, tail="x"))[0] == 422
    for wrong in ("?tenant=me", "?differing=2", "?cursor=AAAA", "?limit=0"):
        assert (await admin(ada, wrong))[0] == 422, wrong
    status, body = await admin(ada, "", is_admin=False)
    assert (status, body["code"]) == (403, "admin_required")


async def test_a_store_that_is_away_is_no_reason_to_repair(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await worked(service)
    await by_hand(service, "UPDATE stored_file SET category = 'avatars' WHERE size = 5")
    monkeypatch.setattr("services.upload.reconciliation.objects.LISTING", 0.0)
    body = await reconciled(ada, repair=True)
    assert (body["store"], body["hidden"]["staged"], body["repaired"]) == (None, None, [])
    assert apart(body) == [("ledger", "ledger", "avatars", -5, -1), ("ledger", "ledger", "documents", 5, 1)]


async def test_an_erased_ledger_keeps_its_adjustments_and_gets_no_more(service: Upload, upkeep: Upkeep) -> None:
    ada = await worked(service)
    await by_hand(service, "UPDATE tenant_storage SET used = 100")
    await reconciled(ada, repair=True)
    before = (await fetched(ada))[-1]
    await query(service.dsn.superuser, "UPDATE tenant_storage SET deleted_at = now()")
    async with upkeep.database.transaction() as connection:
        assert await erasures.redact(connection, ada.tenant) == 8
    after = (await fetched(ada))[-1]
    assert after == {**before, "redacted": True}
    erased = "INSERT INTO erasure (tenant_id, status, from_seq) VALUES ($1, 'done', 0)"
    await query(service.dsn.superuser, erased, ada.tenant)
    await by_hand(service, "UPDATE tenant_storage SET used = 100")
    body = await reconciled(ada, repair=True)
    assert [d[0] for d in apart(body)] == ["account"]
    assert body["repaired"] == []
    assert await upkeep.nightly.run() is None, "what is certified is left alone"


async def test_an_adjustment_may_not_be_altered(service: Upload) -> None:
    ada = await worked(service)
    await by_hand(service, "UPDATE tenant_storage SET used = 100")
    await reconciled(ada, repair=True)
    for change in ("delta_files = 5", "delta = 5", "redacted_at = now()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await query(service.dsn.superuser, f"UPDATE storage_transaction SET {change} WHERE action = 'adjust'")
