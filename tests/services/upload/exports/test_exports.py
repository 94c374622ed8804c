"""Exports: everything in one archive that opens anywhere, proved before it is offered."""

import asyncio
import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.upload.blobs.store import StoreUnavailable
from services.upload.exports import making, members, verify, writing
from services.upload.exports.checking import NotAsWritten
from services.upload.exports.making import ExportMaker
from services.upload.upkeep import Upkeep
from shared import faults, outbox
from shared.events import ExportFailed, ExportReady
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload


async def ask(who: Customer, **body: Any) -> str:
    status, answer, _ = await who.call("POST", "/api/user/export-data", json=body)
    assert (status, answer["status"]) == (202, "pending"), answer
    return answer["export_id"]  # type: ignore[no-any-return]


async def show(who: Customer, export: str) -> dict[str, Any]:
    status, answer, _ = await who.call("GET", f"/api/user/exports/{export}")
    assert status == 200
    return answer  # type: ignore[no-any-return]


async def fetch(who: Customer, export: str, folder: Path) -> Path:
    status, content, _ = await who.call("GET", f"/api/user/exports/{export}/content")
    assert status == 200, content
    file = folder / f"{export}.zip"
    file.write_bytes(content)
    return file


async def make(who: Customer, upkeep: Upkeep, folder: Path, **body: Any) -> Path:
    export = await ask(who, **body)
    await upkeep.jobs.run("exports")
    shown = await show(who, export)
    assert shown["status"] == "ready", shown
    return await fetch(who, export, folder)


async def store(who: Customer, content: bytes, name: str = "note.txt", **fields: str) -> dict[str, Any]:
    status, made = await who.upload(content, name=name, fields=fields)
    assert status == 201, made
    return made  # type: ignore[no-any-return]


def manifest(file: Path) -> list[dict[str, Any]]:
    with zipfile.ZipFile(file) as archive:
        return [json.loads(line) for line in archive.read("manifest.ndjson").splitlines()]


async def test_everything_in_one_archive(service: Upload, upkeep: Upkeep, tmp_path: Path) -> None:
    ada = service.customer()
    await store(ada, b"hello", folder="a/b")
    await store(ada, b"again", "NOTE.txt", folder="A/B")  # on some systems the same name
    await store(ada, b"", "empty.txt")
    await store(ada, b"umlaut", "grüße 北京.txt")
    await store(ada, b"windows", "con.txt")
    trashed = await store(ada, b"trash", "old.txt")
    deleted = await store(ada, b"gone")
    await ada.call("DELETE", f"/api/storage/files/{deleted['file_id']}")
    await query(service.dsn.superuser, "UPDATE stored_file SET trashed_at = now() WHERE name = 'old.txt'")
    file = await make(ada, upkeep, tmp_path)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
    again = next(name for name, content in contents.items() if content == b"again")
    windows = next(name for name, content in contents.items() if content == b"windows")
    assert again.startswith("renamed/")
    assert again.endswith("/NOTE.txt")
    assert windows.endswith("/_con.txt")
    assert {name: contents[name] for name in contents if name.startswith(("files/", "trash/"))} == {
        "files/documents/a/b/note.txt": b"hello",
        "files/documents/empty.txt": b"",
        "files/documents/grüße 北京.txt": b"umlaut",
        f"trash/{trashed['file_id']}/old.txt": b"trash",
    }
    account = json.loads(contents["account.json"])
    assert (account["tenant_id"], account["used"]) == (str(ada.tenant), 28)
    entries = [json.loads(line) for line in contents["transactions.ndjson"].splitlines()]
    assert [entry["seq"] for entry in entries] == list(range(1, 9))
    found = verify.verify(str(file))
    assert (found["members"], found["ledger_entries"], found["problems"]) == (8, 8, [])
    listed = {line["path"]: line for line in manifest(file) if "file" in line}
    assert listed["files/documents/a/b/note.txt"]["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert listed["files/documents/a/b/note.txt"]["file"]["folder"] == "a/b"
    assert (await ada.quota())["used"] == 28, "an export does not count"


async def test_other_programs_open_it(service: Upload, upkeep: Upkeep, tmp_path: Path, unzip: Path) -> None:
    ada = service.customer()
    await store(ada, b"x" * 100_000)
    file = await make(ada, upkeep, tmp_path)
    done = subprocess.run([str(unzip), "-tq", str(file)], capture_output=True, text=True, check=False)  # noqa: ASYNC221
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_choice_of_it(service: Upload, upkeep: Upkeep, tmp_path: Path) -> None:
    ada = service.customer()
    await store(ada, b"document")
    await store(ada, b"photo", category="properties")
    await store(ada, b"trash", "old.txt")
    await query(service.dsn.superuser, "UPDATE stored_file SET trashed_at = now() WHERE name = 'old.txt'")
    file = await make(ada, upkeep, tmp_path, categories=["documents"], include_trash=False)
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist()[:-3] == ["files/documents/note.txt"]


async def test_a_download_that_broke_off_goes_on(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    await store(ada, b"content" * 1000)
    export = await ask(ada)
    path = f"/api/user/exports/{export}/content"
    status, answer, _ = await ada.call("GET", path)
    assert (status, answer["code"]) == (409, "export_not_ready")
    await upkeep.jobs.run("exports")
    status, whole, headers = await ada.call("GET", path)
    assert (status, len(whole), headers["content-type"]) == (200, (await show(ada, export))["size"], "application/zip")
    ranged = {"Range": "bytes=5000-", "If-Range": headers["etag"]}
    status, rest, told = await ada.call("GET", path, headers=ranged)
    assert (status, rest) == (206, whole[5000:])
    assert told["content-range"] == f"bytes 5000-{len(whole) - 1}/{len(whole)}"
    assert (await ada.call("GET", path, headers={**ranged, "If-Range": '"another"'}))[0] == 200
    assert (await ada.call("GET", path, headers={"Range": f"bytes={len(whole)}-"}))[0] == 416


@pytest.mark.parametrize("how", ["deleted", "lost", "short", "emptied", "altered", "blocked"])
async def test_what_is_not_to_be_had_is_said(service: Upload, upkeep: Upkeep, tmp_path: Path, how: str) -> None:
    ada = service.customer()
    await store(ada, b"kept", "kept.txt")
    made = await store(ada, b"x" * 1000, "victim.txt")
    blob = service.root / "blobs" / made["file_path"]
    export = await ask(ada)
    match how:
        case "lost":
            blob.unlink()
        case "short":
            blob.write_bytes(b"x" * 10)
        case "emptied":
            blob.write_bytes(b"")
        case "altered":
            blob.write_bytes(b"y" * 1000)
        case "blocked":
            await query(service.dsn.superuser, "UPDATE stored_file SET state = 'blocked' WHERE name = 'victim.txt'")
        case "deleted":  # between the snapshot and its turn
            rows = await query(service.dsn.superuser, "SELECT * FROM export")
            await making.ExportMaker(upkeep.database, upkeep.locations)._begin(
                {**rows[0], "wanted": json.loads(rows[0]["wanted"])}
            )
            await ada.call("DELETE", f"/api/storage/files/{made['file_id']}")
            await upkeep.jobs.run("garbage")
    await upkeep.jobs.run("exports")
    shown = await show(ada, export)
    problem = {"deleted": "missing", "lost": "missing", "blocked": "blocked"}.get(how, "damaged")
    assert shown["status"] == "incomplete"
    assert [(p["name"], p["problem"]) for p in shown["problems"]] == [("victim.txt", problem)]
    file = await fetch(ada, export, tmp_path)
    assert verify.verify(str(file))["problems"] == [{"name": "victim.txt", "problem": problem}]
    with zipfile.ZipFile(file) as archive:
        assert archive.read("files/documents/kept.txt") == b"kept"
        assert ("files/documents/victim.txt" in archive.namelist()) == (problem == "damaged")


async def test_a_file_that_moved_meanwhile_is_found(service: Upload, upkeep: Upkeep, tmp_path: Path) -> None:
    ada = service.customer()
    made = await store(ada, b"moved")
    export = await ask(ada)
    rows = await query(service.dsn.superuser, "SELECT * FROM export")
    maker = making.ExportMaker(upkeep.database, upkeep.locations)
    await maker._begin({**rows[0], "wanted": json.loads(rows[0]["wanted"])})
    blob = service.root / "blobs" / made["file_path"]
    blob.rename(blob.with_name("elsewhere"))
    await query(
        service.dsn.superuser, "UPDATE stored_file SET path = $1", made["file_path"].rsplit("/", 1)[0] + "/elsewhere"
    )
    await upkeep.jobs.run("exports")
    assert (await show(ada, export))["status"] == "ready"
    assert verify.verify(str(await fetch(ada, export, tmp_path)))["members"] == 3


async def test_a_store_that_altered_the_archive_is_found_out(
    service: Upload, upkeep: Upkeep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = service.customer()
    await store(ada, b"content" * 100)
    maker = making.ExportMaker(upkeep.database, upkeep.locations)
    placed = maker._placed
    spoilt: list[Path] = []

    async def spoil(export: Any, size: int) -> Any:
        if len(spoilt) < 2:
            blob = service.root / "blobs" / "exports" / str(ada.tenant) / f"{export['id']}.zip"
            content = bytearray(blob.read_bytes())
            content[(100, -10)[len(spoilt)]] ^= 1
            blob.write_bytes(content)
            spoilt.append(blob)
        return await placed(export, size)

    monkeypatch.setattr(maker, "_placed", spoil)
    export = await ask(ada)
    assert await maker.run() == {"ended": ["ready"], "expired": 0}
    assert len(spoilt) == 2
    assert verify.verify(str(await fetch(ada, export, tmp_path)))["members"] == 3


@pytest.mark.parametrize("place", ["checkpoint", "placed", "lost"])
async def test_a_maker_that_dies_is_followed_by_one_that_goes_on(
    service: Upload, upkeep: Upkeep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    ada = service.customer()
    contents = {b"content %d" % number for number in range(30)}
    for content in contents:
        await store(ada, content, f"{content.decode()}.txt")
    monkeypatch.setattr(writing, "CHECKPOINT_MEMBERS", 10)
    visits, reads = 0, []

    class Died(BaseException):
        pass

    def reach(name: str) -> None:
        nonlocal visits
        visits += name == ("upload.exported" if place == "placed" else "upload.exporting")
        if visits == (1 if place == "placed" else 2):
            raise Died

    opened = members.Members._open

    async def count(self: Any, entry: Any) -> Any:
        reads.append(entry.number)
        return await opened(self, entry)

    monkeypatch.setattr(faults, "reach", reach)
    # A process that dies tidies nothing up.
    monkeypatch.setattr(writing.ArchiveWriter, "suspend", _nothing)
    monkeypatch.setattr(members.Members, "_open", count)
    export = await ask(ada)
    maker = making.ExportMaker(upkeep.database, upkeep.locations)
    row = (await maker._due([]))[0]
    with pytest.raises(Died):
        await maker._step_by_step(row)
    assert (await show(ada, export))["files_done"] == (30 if place == "placed" else 20)
    reads.clear()
    if place == "lost":
        shutil.rmtree(service.root / "staging")
        (service.root / "staging").mkdir()
    monkeypatch.setattr(faults, "reach", lambda _name: None)
    for _ in range(making.PATIENCE if place == "lost" else 1):
        await query(service.dsn.superuser, "UPDATE export SET due_at = now()")
        reads.clear()
        await maker.run()
    assert len(reads) == {"checkpoint": 10, "placed": 0, "lost": 40}[place]
    assert (await show(ada, export))["status"] == "ready"
    file = await fetch(ada, export, tmp_path)
    assert verify.verify(str(file))["members"] == 32
    with zipfile.ZipFile(file) as archive:
        assert {archive.read(name) for name in archive.namelist()[:30]} == contents


async def _nothing(_self: Any) -> None:
    return None


async def test_deleted_while_it_is_made(service: Upload, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = service.customer()
    await store(ada, b"content")
    export = await ask(ada)
    finish = writing.ArchiveWriter._finish

    async def deleted(self: Any) -> None:
        assert (await ada.call("DELETE", f"/api/user/exports/{export}"))[0] == 204
        await finish(self)

    monkeypatch.setattr(writing.ArchiveWriter, "_finish", deleted)
    await upkeep.jobs.run("exports")
    await upkeep.jobs.run("garbage")
    assert (await show(ada, export))["status"] == "expired"
    assert not list((service.root / "blobs" / "exports").rglob("*.zip"))
    assert (await ada.call("GET", f"/api/user/exports/{export}/content"))[1]["code"] == "export_expired"


async def test_it_is_kept_for_a_week(service: Upload, upkeep: Upkeep, tmp_path: Path) -> None:
    ada = service.customer()
    await store(ada, b"content")
    await make(ada, upkeep, tmp_path)
    await upkeep.jobs.run("exports")
    assert list((service.root / "blobs" / "exports").rglob("*.zip"))
    await query(service.dsn.superuser, "UPDATE export SET expires_at = expires_at - interval '7 days'")
    assert await upkeep.jobs.run("exports") == {"ended": [], "expired": 1}
    await upkeep.jobs.run("garbage")
    assert not list((service.root / "blobs" / "exports").rglob("*.zip"))
    assert (await query(service.dsn.superuser, "SELECT count(*) FROM export_entry"))[0][0] == 0


async def test_a_store_that_is_away_is_asked_again(service: Upload, upkeep: Upkeep, tmp_path: Path) -> None:
    ada = service.customer()
    await store(ada, b"content")
    export = await ask(ada)
    (service.root / "blobs").rename(service.root / "away")
    (service.root / "blobs").write_bytes(b"")
    assert await upkeep.jobs.run("exports") == {"ended": ["postponed"], "expired": 0}
    (service.root / "blobs").unlink()
    (service.root / "away").rename(service.root / "blobs")
    await query(service.dsn.superuser, "UPDATE export SET due_at = now()")
    assert await upkeep.jobs.run("exports") == {"ended": ["ready"], "expired": 0}
    assert verify.verify(str(await fetch(ada, export, tmp_path)))


async def test_two_at_a_time_and_no_strangers(service: Upload) -> None:
    ada, eve = service.customer(), service.customer()
    export = await ask(ada)
    await ask(ada)
    assert (await ada.call("POST", "/api/user/export-data", json={}))[1]["code"] == "export_running"
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert (await eve.call(method, f"/api/user/exports/{export}{path}"))[0] == 404
    assert (await eve.call("GET", "/api/user/exports"))[1]["items"] == []
    first = (await ada.call("GET", "/api/user/exports?limit=1"))[1]
    second = (await ada.call("GET", f"/api/user/exports?limit=1&cursor={first['next_cursor']}"))[1]
    assert second["items"][0]["export_id"] == export


@pytest.mark.parametrize("where", ["content", "manifest", "besides", "cut", "chain"])
async def test_an_altered_archive_does_not_pass(service: Upload, upkeep: Upkeep, tmp_path: Path, where: str) -> None:
    ada = service.customer()
    await store(ada, b"content")
    file = await make(ada, upkeep, tmp_path)
    with zipfile.ZipFile(file) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    match where:
        case "content":
            found["files/documents/note.txt"] = b"CONTENT"
        case "manifest":
            found["manifest.ndjson"] = found["manifest.ndjson"].rsplit(b"\n", 2)[0]
        case "besides":
            found["files/documents/other.txt"] = b"other"
        case "chain":
            found["transactions.ndjson"] = found["transactions.ndjson"].replace(b"note.txt", b"nota.txt")
    altered = io.BytesIO()
    with zipfile.ZipFile(altered, "w") as archive:
        for name, content in found.items():
            archive.writestr(name, content)
    file.write_bytes(file.read_bytes()[:-10] if where == "cut" else altered.getvalue())
    with pytest.raises(verify.Broken):
        verify.verify(str(file))
    assert verify.main([str(file)]) == 1


async def test_thousands_of_small_files(service: Upload, upkeep: Upkeep, tmp_path: Path) -> None:
    ada = service.customer()
    await ada.quota()
    blobs = service.root / "blobs" / "customers" / str(ada.tenant)
    blobs.mkdir(parents=True)
    files = [(uuid4(), b"file %d" % number) for number in range(3000)]
    for file_id, content in files:
        (blobs / f"{file_id}.txt").write_bytes(content)
    await query(
        service.dsn.superuser,
        "INSERT INTO stored_file "
        "(id, tenant_id, path, name, size, content_type, file_type, category, sha256, created_at) "
        "SELECT id, $1::text::uuid, 'customers/' || $1::text || '/' || id || '.txt', 'same name.txt', size, "
        "'text/plain', 'document', 'documents', sha256, now() "
        "FROM unnest($2::uuid[], $3::bigint[], $4::text[]) AS t(id, size, sha256)",
        str(ada.tenant),
        [file_id for file_id, _ in files],
        [len(content) for _, content in files],
        [hashlib.sha256(content).hexdigest() for _, content in files],
    )
    file = await make(ada, upkeep, tmp_path)
    assert await asyncio.to_thread(lambda: verify.verify(str(file))["members"]) == 3002


async def test_whoever_asked_is_told_in_the_commit_that_ends_it(
    service: Upload, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, whatever is tried again; and nothing of it is in the ledger."""
    ada = service.customer()
    await store(ada, b"hello")
    export = await ask(ada)
    real = outbox.append

    async def die(*_: Any, **__: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(outbox, "append", die)
    await upkeep.jobs.run("exports")
    assert (await show(ada, export))["status"] == "verifying", "not ended without being told of"
    monkeypatch.setattr(outbox, "append", real)
    await query(service.dsn.superuser, "UPDATE export SET due_at = now()")
    await upkeep.jobs.run("exports")
    await upkeep.jobs.run("exports")
    shown = await show(ada, export)
    told = await _told(service)
    assert [(row["seq"], row["type"]) for row in told] == [(1, "export.ready")]
    event = ExportReady.parse(told[0]["body"])
    assert (str(event.export_id), event.requested_by, event.size) == (export, ada.user, shown["size"])
    assert (event.complete, event.expires_at.isoformat()[:19]) == (True, shown["expires_at"][:19])
    assert [entry["type"] for entry in await service.ledger(ada.tenant)] == ["file.stored"]
    second = await ask(ada)
    await query(service.dsn.superuser, "UPDATE stored_file SET state = 'blocked'")
    await upkeep.jobs.run("exports")
    assert (await show(ada, second))["status"] == "incomplete"
    assert [ExportReady.parse(row["body"]).complete for row in await _told(service)] == [True, False]


@pytest.mark.parametrize("broken", ["store", "archive", "code"])
async def test_that_it_failed_for_good_is_told_once(
    service: Upload, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """To whoever asked, by the commit that ends it, and not before the last attempt."""
    error, why = {
        "store": (StoreUnavailable(), "The object store does not answer just now; try again."),
        "archive": (NotAsWritten("The archive is shorter."), "The archive is shorter."),
        "code": (KeyError("secret"), "An unexpected error; see the log."),
    }[broken]

    async def fails(*_: Any) -> None:
        raise error

    ada = service.customer()
    await store(ada, b"hello")
    export = await ask(ada)
    monkeypatch.setattr(ExportMaker, "_write", fails)
    monkeypatch.setattr(making, "ATTEMPTS", 3)
    for attempt in range(4):
        assert len(await _told(service)) == (attempt == 3)
        await query(service.dsn.superuser, "UPDATE export SET due_at = now()")
        await upkeep.jobs.run("exports")
    shown = await show(ada, export)
    assert (shown["status"], shown["error"]) == ("failed", why)
    [told] = await _told(service)
    event = ExportFailed.parse(told["body"])
    assert (told["type"], str(event.export_id), event.requested_by, event.error) == (
        "export.failed",
        export,
        ada.user,
        why,
    )


async def _told(service: Upload) -> list[Any]:
    return await query(service.dsn.superuser, "SELECT seq, type, body FROM outbox_event ORDER BY seq")
