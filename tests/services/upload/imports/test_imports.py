"""A folder that was there before becomes a tenant's files, counted to the byte, and stays where it is."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.upload.blobs.local import LocalStore
from services.upload.imports.open import open_importer
from services.upload.imports.service import Source
from services.upload.scans.open import open_scans
from services.upload.tasks.runner import Handler, TaskRunner
from services.upload.upkeep import Upkeep
from shared.ids import new_id
from tests.fixtures.postgres import query
from tests.fixtures.stores import ObjectServer
from tests.services.upload.blobs.conftest import maker
from tests.services.upload.conftest import LIMIT, Billing, Upload
from tests.services.upload.images.conftest import picture
from tests.services.upload.media.samples import PAGE
from tests.services.upload.scans.daemon import EICAR, StandIn

# Whatever we make for a while: thumbnails, exports, parts, what is staged.
OURS = (
    "derived/{}/{}/64-a.webp",
    "exports/{}/{}.zip",
    "parts/{}/{}",
    "direct/{1}/{1}",
    "staging/{1}",
    "staging/{1}.tail.3",
)


def put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


class Old:
    """A store with somebody's photos and papers in it."""

    def __init__(self, service: Upload, upkeep: Upkeep, root: Path) -> None:
        self.folder = root / "blobs"
        self.store = LocalStore(root)
        for locations in (service.app.state.services.files._locations, upkeep.locations):
            locations._stores = {**locations._stores, "old": self.store}
        self.ada = service.customer()
        self.settings, self.upkeep = service.settings, upkeep
        self.source = Source(self.ada.tenant, "old", "archive", "documents", enforce=True)

    def put(self, path: str, content: bytes) -> None:
        put(self.folder / "archive" / path, content)

    async def adopt(self, **changes: Any) -> dict[str, Any]:
        importer = open_importer(self.settings, self.upkeep)
        return await importer.setup_storage_usage_tracking(replace(self.source, **changes))

    async def files(self) -> dict[str, dict[str, Any]]:
        items = (await self.ada.call("GET", "/api/storage/files"))[1]["items"]
        return {f"{item['folder']}/{item['file_name']}": item for item in items}


@pytest.fixture
async def old(service: Upload, upkeep: Upkeep, tmp_path: Path) -> AsyncIterator[Old]:
    found = Old(service, upkeep, tmp_path / "old")
    yield found
    await found.store.close()


async def test_a_folder_is_adopted_where_it_lies(old: Old, service: Upload, upkeep: Upkeep) -> None:
    old.put("note.txt", b"hello")
    old.put("2024/photo.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    (old.folder / "other.txt").write_bytes(b"not below the prefix")
    assert await old.adopt(dry=True) == {"files": 2, "bytes": 113, "known": 0, "skipped": {}, "full": None}
    assert await old.files() == {}
    assert await old.adopt() == {"files": 2, "bytes": 113, "known": 0, "skipped": {}, "full": None}
    files = await old.files()
    assert set(files) == {"/note.txt", "2024/photo.png"}
    assert files["2024/photo.png"]["content_type"] == "image/png"
    assert files["/note.txt"]["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert files["/note.txt"]["file_path"] == "archive/note.txt"
    assert (await old.ada.quota())["used"] == 113
    entries = await service.ledger(old.ada.tenant)
    assert [(entry["action"], entry["type"]) for entry in entries] == [("upload", "file.stored")] * 2
    path = f"/api/storage/files/{files['/note.txt']['file_id']}"
    assert (await old.ada.call("GET", f"{path}/content"))[1] == b"hello"
    assert not service.blobs(), "nothing was copied"
    await old.ada.call("DELETE", path)
    await upkeep.jobs.run("garbage")
    assert not (old.folder / "archive" / "note.txt").exists(), "deleting an adopted file deletes its object"
    assert (old.folder / "other.txt").exists()


async def test_twice_adopts_once_and_a_stop_goes_on(old: Old) -> None:
    for number in range(12):
        old.put(f"{number:02}.txt", b"x" * number)
    await old.adopt()
    old.put("new.txt", b"new")
    assert await old.adopt() == {"files": 1, "bytes": 3, "known": 12, "skipped": {}, "full": None}
    assert (await old.ada.quota())["used"] == sum(range(12)) + 3


async def test_two_imports_at_once_adopt_once(old: Old, service: Upload) -> None:
    for number in range(20):
        old.put(f"{number}.txt", b"xx")
    await asyncio.gather(old.adopt(), old.adopt())
    assert (await old.ada.quota())["used"] == 40
    assert len(await service.ledger(old.ada.tenant)) == 20


async def test_an_object_is_one_tenants(old: Old, service: Upload) -> None:
    old.put("note.txt", b"hello")
    await old.adopt()
    eve = service.customer()
    assert (await old.adopt(tenant=eve.tenant))["known"] == 1
    assert (await eve.quota())["used"] == 0


async def test_enforced_it_ends_where_the_plan_ends(old: Old) -> None:
    await old.ada.upload(b"x" * (LIMIT - 10))
    old.put("a.txt", b"x" * 11)
    for dry in (True, False):
        assert (await old.adopt(dry=dry))["full"] == 11
    assert (await old.ada.quota())["used"] == LIMIT - 10
    old.put("a.txt", b"x" * 10)
    assert (await old.adopt())["files"] == 1
    assert (await old.ada.quota())["available"] == 0


async def test_allowed_over_everything_counts_and_nothing_more_fits(old: Old, service: Upload) -> None:
    old.put("big.bin", b"\0" * (LIMIT + 10))
    old.put("small.txt", b"x")
    assert (await old.adopt(enforce=False))["files"] == 2
    quota = await old.ada.quota()
    assert (quota["used"], quota["available"], quota["can_upload"]) == (LIMIT + 11, 0, False)
    assert (await old.ada.upload(b"x"))[0] == 413
    account = await service.account(old.ada.tenant)
    assert sum(entry["delta"] for entry in await service.ledger(old.ada.tenant)) == account["used"]
    file = (await old.files())["/big.bin"]["file_id"]
    await old.ada.call("DELETE", f"/api/storage/files/{file}")
    assert (await old.ada.upload(b"x"))[0] == 201


async def test_what_could_not_have_been_uploaded_is_passed_over_and_said(old: Old) -> None:
    old.put("good.txt", b"good")
    old.put("a\nb.txt", b"bad")
    done = await old.adopt()
    assert done["files"] == 1
    assert "control characters" in done["skipped"]["archive/a\nb.txt"]


async def test_what_lies_about_itself_is_passed_over_and_stays(old: Old) -> None:
    old.put("a.png", PAGE)
    old.put("data.csv.gz", b"\x1f\x8b" + bytes(20))  # its name says what is packed
    for enforce in (True, False):
        done = await old.adopt(enforce=enforce)
        assert done["skipped"] == {"archive/a.png": "Said to be image/png, but the content is text/html."}
    assert set(await old.files()) == {"/data.csv.gz"}
    assert (old.folder / "archive" / "a.png").read_bytes() == PAGE
    assert (await old.ada.quota())["used"] == 22


@pytest.mark.parametrize("enforce", [True, False])
async def test_what_the_plan_does_not_take_is_passed_over(old: Old, billing: Billing, *, enforce: bool) -> None:
    billing.max_file = 10
    await old.ada.quota()
    await query(old.upkeep.database.dsn, "UPDATE tenant_storage SET allowed_types = '{text/*}'")
    old.put("large.txt", b"x" * 11)
    old.put("page.pdf", b"%PDF-1.7")
    old.put("note.txt", b"x" * 10)
    done = await old.adopt(enforce=enforce)
    assert done["files"] == 1
    assert done["skipped"] == {
        "archive/large.txt": "A file may have at most 10 bytes.",
        "archive/page.pdf": "Files of type application/pdf are not accepted.",
    }
    assert set(await old.files()) == {"/note.txt"}


async def test_what_is_adopted_is_hidden_until_it_is_clean(old: Old) -> None:
    async with StandIn() as daemon:
        old.settings = old.settings.model_copy(update={"clamav_url": daemon.url})
        old.put("good.txt", b"good")
        old.put("bad.txt", EICAR)
        assert (await old.adopt())["files"] == 2
        assert await old.files() == {}
        scans = open_scans(old.settings, old.upkeep.database, old.upkeep.accounts, old.upkeep.locations)
        assert scans is not None
        await work(old.upkeep, {"scan": scans.scan})
    assert set(await old.files()) == {"/good.txt"}
    assert (await old.ada.quota())["used"] == 4
    await old.upkeep.jobs.run("garbage")
    assert not (old.folder / "archive" / "bad.txt").exists(), "as of any deleted file, the object goes too"


async def test_adopted_pictures_are_looked_at(old: Old) -> None:
    for name, made in {"a.png": picture(1), "smaller.png": picture(1, (32, 24)), "other.png": picture(2)}.items():
        old.put(name, made)
    await old.adopt()
    await work(old.upkeep, old.upkeep.handlers)
    files = await old.files()
    _, found, _ = await old.ada.call("GET", f"/api/images/{files['/a.png']['file_id']}/similar?threshold=0.9")
    assert [item["name"] for item in found["items"]] == ["smaller.png"]


async def work(upkeep: Upkeep, handlers: Mapping[str, Handler]) -> None:
    """What the worker does with files that were stored, until nothing of it is left."""
    running = asyncio.create_task(TaskRunner(upkeep.database, handlers).run())
    async with asyncio.timeout(30):
        while await query(upkeep.database.dsn, "SELECT FROM file_task"):
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_is_ours_for_others_is_not_adopted(old: Old, service: Upload) -> None:
    eve = service.customer()
    made = (await eve.upload(b"eve"))[1]
    await query(old.upkeep.database.dsn, "DELETE FROM stored_file")  # an orphan of hers, in the grace time
    assert (service.root / "blobs" / made["file_path"]).exists()
    ours = {made["file_path"], *(place.format(old.ada.tenant, new_id()) for place in OURS)}
    for path in ours - {made["file_path"]}:
        put(service.root / "blobs" / path, b"ours")
    done = await old.adopt(location="default", prefix="")
    assert (done["files"], set(done["skipped"])) == (0, ours)


async def test_a_strangers_folder_may_be_called_like_one_of_ours(old: Old) -> None:
    for path in ("exports/2019/report.txt", "customers/acme.txt", "derived/a.txt"):
        put(old.folder / path, b"theirs")
    done = await old.adopt(prefix="")
    assert (done["files"], done["skipped"]) == (3, {})


@pytest.mark.parts("s3_program")
async def test_a_bucket_s_note_of_readiness_is_not_worth_a_word(
    old: Old, s3_server: ObjectServer, tmp_path: Path
) -> None:
    make = maker("s3", s3_server, tmp_path)
    first = make()
    await first.open()
    await first.close()
    bucket = make()
    await bucket.open()
    await bucket.check()
    old.upkeep.locations._stores["bucket"] = bucket  # type: ignore[index]
    assert [found.path async for found in bucket.walk("")] == ["staging/ready"]
    nothing = {"files": 0, "bytes": 0, "known": 0, "skipped": {}, "full": None}
    assert await old.adopt(location="bucket", prefix="") == nothing


async def test_the_proof_holds(old: Old, service: Upload) -> None:
    old.put("note.txt", b"hello")
    await old.adopt()
    proof = await service.app.state.services.proof.prove(old.ada.tenant, None)
    assert (proof.store.bytes, proof.store.files, proof.store.missing, proof.store.orphans_bytes) == (5, 1, [], 0)


async def test_an_unknown_category_or_location(old: Old) -> None:
    for changes in ({"category": "nonsense"}, {"location": "nowhere"}):
        with pytest.raises(Exception, match=r"Known categories|not configured"):
            await old.adopt(**changes)
    assert not await query(old.upkeep.database.dsn, "SELECT FROM stored_file")
