"""Bytes nobody needs: removed many at a time, few of them held, and one that cannot go is no other's business."""

import asyncio

import pytest

from services.upload.blobs import garbage
from services.upload.blobs.local import LocalStore
from services.upload.blobs.store import StoreUnavailable
from services.upload.upkeep import Upkeep
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Upload

BLOBS = garbage.BATCH * 2 + 50
STUCK = "garbage/7"


async def test_many_at_a_time_and_a_batch_held(
    service: Upload, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = service.customer()
    kept = (await ada.upload(b"kept"))[1]
    folder = service.root / "blobs" / "garbage"
    folder.mkdir()
    for number in range(BLOBS):
        (folder / str(number)).write_bytes(b"x")
    await query(
        service.dsn.superuser,
        "INSERT INTO blob_garbage (tenant_id, path, size) SELECT $1, 'garbage/' || n, 1 "
        "FROM generate_series(0, $2::int - 1) AS n",
        ada.tenant,
        BLOBS,
    )
    await query(
        service.dsn.superuser, "INSERT INTO blob_garbage (tenant_id, path, size) VALUES ($1, $2, 4)", ada.tenant,
        kept["file_path"],
    )  # fmt: skip
    running = most = 0
    free: list[int] = []
    delete = LocalStore.delete

    async def slow(store: LocalStore, path: str) -> None:
        nonlocal running, most
        if path == STUCK:
            raise StoreUnavailable
        running += 1
        most = max(most, running)
        if running == 1:
            rows = await query(service.dsn.superuser, "SELECT FROM blob_garbage FOR UPDATE SKIP LOCKED")
            free.append(len(rows))
        await asyncio.sleep(0.01)
        await delete(store, path)
        running -= 1

    monkeypatch.setattr(LocalStore, "delete", slow)
    assert await upkeep.jobs.run("garbage") == {"objects": BLOBS - 1, "bytes": BLOBS - 1}
    assert most > garbage.BATCH // 2
    assert max(free) >= BLOBS - garbage.BATCH, "the rest could be touched meanwhile"
    assert [path.name for path in folder.iterdir()] == ["7"]
    rows = await query(service.dsn.superuser, "SELECT path, at > now() AS later FROM blob_garbage")
    assert [tuple(row) for row in rows] == [(STUCK, True)]
    assert (await ada.call("GET", f"/api/storage/files/{kept['file_id']}/content"))[1] == b"kept"
