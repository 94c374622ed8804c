"""Files on their way to another store: readable all the time, whole, and moved once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.upload.blobs.local import LocalStore
from services.upload.entitlements.service import upsert
from services.upload.relocation.service import Relocator
from services.upload.upkeep import Upkeep
from shared import faults
from shared.events import EntitlementsChanged
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload


class Two:
    """The service and the worker with a second store."""

    def __init__(self, service: Upload, upkeep: Upkeep, root: Path) -> None:
        self.root = root
        self.service = service
        self.upkeep = upkeep
        self.other = LocalStore(root)
        for locations in (service.app.state.services.files._locations, upkeep.locations):
            locations._stores = {**locations._stores, "other": self.other}
        self.relocator = Relocator(upkeep.database, upkeep.locations, upkeep.accounts)

    async def move(self, target: str = "other", tenant: Any = None) -> dict[str, Any]:
        return await self.relocator.run(target, tenant, lambda _: None)

    async def collect(self) -> None:
        await query(self.service.dsn.superuser, "UPDATE blob_garbage SET at = now()")
        await self.upkeep.jobs.run("garbage")

    def here(self) -> set[str]:
        return {path.name for path in self.service.blobs()}

    def there(self) -> set[str]:
        return {path.name for path in (self.root / "blobs").rglob("*") if path.is_file()}


@pytest.fixture
async def two(service: Upload, upkeep: Upkeep, tmp_path: Path) -> AsyncIterator[Two]:
    found = Two(service, upkeep, tmp_path / "other")
    yield found
    await found.other.close()


async def content_of(who: Customer, file: str) -> bytes:
    status, content, _ = await who.call("GET", f"/api/storage/files/{file}/content")
    assert status == 200, content
    return content  # type: ignore[no-any-return]


async def test_everything_moves_and_nobody_notices(two: Two) -> None:
    ada = two.service.customer()
    made = [(await ada.upload(b"content %d" % number))[1] for number in range(30)]
    await query(
        two.service.dsn.superuser, "UPDATE stored_file SET trashed_at = now() WHERE id::text = $1", made[-1]["file_id"]
    )
    before, stop = await ada.quota(), asyncio.Event()

    async def read() -> int:
        times = 0
        while not stop.is_set():
            for number in range(0, 29, 7):
                assert await content_of(ada, made[number]["file_id"]) == b"content %d" % number
                times += 1
        return times

    readers = [asyncio.create_task(read()) for _ in range(3)]
    done = await two.move()
    stop.set()
    assert sum(await asyncio.gather(*readers)) > 3
    assert (done["files"], done["failed"]) == (30, {})
    await two.collect()
    assert not two.here()
    assert len(two.there()) == 30
    assert await ada.quota() == before
    assert len(await two.service.ledger(ada.tenant)) == 30, "where bytes lie is no event"
    assert await content_of(ada, made[0]["file_id"]) == b"content 0"
    assert (await two.move())["files"] == 0, "again is harmless"
    new = (await ada.upload(b"new"))[1]
    assert {path for path in two.there() if path.startswith(new["file_id"])}, "new files go to the new place"


async def test_there_and_home_again(two: Two) -> None:
    ada = two.service.customer()
    made = (await ada.upload(b"content"))[1]
    await two.move()
    await two.move("default")  # its old bytes are still garbage there
    assert await content_of(ada, made["file_id"]) == b"content"
    await two.collect()
    assert await content_of(ada, made["file_id"]) == b"content"
    assert not two.there()


async def test_new_accounts_begin_where_everything_went(two: Two) -> None:
    await two.service.customer().upload(b"before")
    await two.move(tenant=two.service.customer().tenant)
    assert await locations_of(two, two.service.customer()) == ["default"], "one tenant's move is its own"
    await two.move()
    assert await locations_of(two, two.service.customer()) == ["other"]
    await two.move("default")
    assert await locations_of(two, two.service.customer()) == ["default"]


async def test_an_account_made_while_all_is_sent_elsewhere_goes_along(two: Two) -> None:
    """It was begun before and is committed afterwards."""
    eve = two.service.customer()
    services = two.service.app.state.services
    async with services.files._database.transaction(eve.tenant) as connection:
        terms = services.accounts._entitlements
        told = await terms._billing.request_json("GET", f"/internal/entitlements/{eve.tenant}")
        event = EntitlementsChanged(tenant_id=eve.tenant, **told)
        await upsert(connection, [event])
        moving = asyncio.create_task(two.move())
        while not await query(two.service.dsn.superuser, "SELECT FROM pg_locks WHERE NOT granted"):
            assert not moving.done(), "it did not wait"
            await asyncio.sleep(0.01)
    await moving
    assert await locations_of(two, eve) == ["other"]


async def locations_of(two: Two, who: Customer) -> list[str]:
    assert (await who.upload(b"new"))[0] == 201
    rows = await query(two.service.dsn.superuser, "SELECT location FROM stored_file WHERE tenant_id = $1", who.tenant)
    return [row["location"] for row in rows]


async def test_one_tenant_only(two: Two) -> None:
    ada, bob = two.service.customer(), two.service.customer()
    await ada.upload(b"ada")
    await bob.upload(b"bob")
    assert (await two.move(tenant=ada.tenant))["files"] == 1
    await two.collect()
    assert (len(two.here()), len(two.there())) == (1, 1)


async def test_what_is_damaged_stays_and_is_said(two: Two) -> None:
    ada = two.service.customer()
    made = [(await ada.upload(content))[1] for content in (b"damaged", b"gone", b"cut", b"emptied", b"whole")]
    blobs = [two.service.root / "blobs" / file["file_path"] for file in made]
    blobs[0].write_bytes(b"DAMAGED")
    blobs[1].unlink()
    blobs[2].write_bytes(b"c")
    blobs[3].write_bytes(b"")
    done = await two.move()
    assert (done["files"], set(done["failed"])) == (1, {file["file_id"] for file in made[:4]})
    reasons = [done["failed"][file["file_id"]].split(":")[0] for file in made[:4]]
    assert reasons == ["Damaged", "FileNotFoundError", "Damaged", "Damaged"]
    assert two.there() == {blobs[4].name}
    assert await content_of(ada, made[0]["file_id"]) == b"DAMAGED"
    assert (await two.move())["files"] == 0, "a second run ends, too"


@pytest.mark.parametrize("what", ["deleted", "replaced"])
async def test_what_changes_while_it_is_copied(two: Two, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    ada = two.service.customer()
    made = (await ada.upload(b"content"))[1]
    copied = two.relocator._copy

    async def change(row: dict[str, Any], *rest: Any) -> Any:
        writer = await copied(row, *rest)
        if what == "deleted":
            await ada.call("DELETE", f"/api/storage/files/{made['file_id']}")
        elif row["sha256"] == made["sha256"]:
            await query(two.service.dsn.superuser, "UPDATE stored_file SET sha256 = repeat('0', 64)")
        return writer

    monkeypatch.setattr(two.relocator, "_copy", change)
    done = await two.move()
    assert done["files"] == 0
    assert not two.there(), "a copy nobody wants is gone"


async def test_a_death_between_copy_and_change_is_made_good(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = two.service.customer()
    made = (await ada.upload(b"content"))[1]

    class Died(BaseException):
        pass

    def die(name: str) -> None:
        if name == "upload.copied":
            raise Died

    monkeypatch.setattr(faults, "reach", die)
    with pytest.raises(Died):
        await two.move()
    assert len(two.there()) == 1
    assert await content_of(ada, made["file_id"]) == b"content"
    monkeypatch.undo()
    assert (await two.move())["files"] == 1
    await two.collect()
    assert (len(two.here()), len(two.there())) == (0, 1)
    assert await content_of(ada, made["file_id"]) == b"content"


async def test_a_commit_in_doubt_deletes_nothing(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt was committed, its answer was lost, and the second one finds the file changed: by itself."""
    ada = two.service.customer()
    made = (await ada.upload(b"content"))[1]
    submit = two.upkeep.accounts.submit

    async def twice(tenant: Any, change: Any) -> Any:
        await submit(tenant, change)
        return await submit(tenant, change)

    monkeypatch.setattr(two.upkeep.accounts, "submit", twice)
    assert (await two.move())["files"] == 1
    await two.collect()
    assert await content_of(ada, made["file_id"]) == b"content"


async def test_the_unknown_is_refused(two: Two) -> None:
    with pytest.raises(Exception, match="not configured"):
        await two.move("nowhere")
