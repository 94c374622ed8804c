"""Objects without a row and rows without an object: noted, removed after a grace time or said aloud."""

import os
import time
from pathlib import Path
from uuid import UUID, uuid4

from services.upload.findings.orphans import Orphans
from services.upload.upkeep import Upkeep
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Upload

OLD = time.time() - 10_000


def put(path: Path, content: bytes = b"lost") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))
    return path


async def findings(service: Upload) -> list[tuple[str, str, str | None]]:
    rows = await query(service.dsn.superuser, "SELECT kind, path, outcome FROM storage_finding ORDER BY id")
    return [(row["kind"], row["path"], row["outcome"]) for row in rows]


async def test_an_orphan_is_noted_first_and_removed_after_its_grace(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    made = (await ada.upload(b"kept"))[1]
    path = f"customers/{ada.tenant}/documents/{uuid4()}.txt"
    orphan = put(service.root / "blobs" / path)
    stranger = put(service.root / "blobs" / "customers" / "readme.txt")
    os.utime(service.root / "blobs" / made["file_path"], (OLD, OLD))
    patient = Orphans(upkeep.database, upkeep.locations, settled_after=10, grace=3600)
    assert await patient.run() == {"found": 1, "removed": 0, "abandoned": 0}
    assert orphan.exists()
    assert await patient.run() is None  # the same again is no news
    assert await findings(service) == [("orphan", path, None)]
    await query(service.dsn.superuser, "UPDATE storage_finding SET found_at = now() - interval '2 hours'")
    assert await patient.run() == {"found": 0, "removed": 1, "abandoned": 0}
    assert not orphan.exists()
    assert await findings(service) == [("orphan", path, "removed")]
    assert stranger.exists(), "what has no name of ours is not ours"
    assert (service.root / "blobs" / made["file_path"]).exists()


async def test_an_orphan_whose_row_comes_back_is_kept(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    made = (await ada.upload(b"content"))[1]
    blob = service.root / "blobs" / made["file_path"]
    os.utime(blob, (OLD, OLD))
    patient = Orphans(upkeep.database, upkeep.locations, settled_after=10, grace=3600)
    # As with a backup that is older than the store.
    await query(service.dsn.superuser, "UPDATE stored_file SET path = path || '.away'")
    assert (await patient.run() or {})["found"] == 1
    await query(service.dsn.superuser, "UPDATE stored_file SET path = replace(path, '.away', '')")
    await query(service.dsn.superuser, "UPDATE storage_finding SET found_at = now() - interval '2 hours'")
    assert await patient.run() is None
    assert blob.exists()
    assert await findings(service) == [("orphan", made["file_path"], "owned")]


async def test_what_a_dead_upload_left_goes_and_what_runs_stays(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    await ada.quota()
    dead, alive = uuid4(), uuid4()
    staging = service.root / "staging"
    for upload in (dead, alive):
        put(staging / str(upload))
    await query(
        service.dsn.superuser,
        "INSERT INTO reservation (id, tenant_id, size, expires_at) VALUES ($1, $2, 4, now() + interval '1 hour')",
        alive,
        ada.tenant,
    )
    assert await upkeep.jobs.run("orphans") == {"found": 0, "removed": 0, "abandoned": 1}
    assert [path.name for path in staging.iterdir()] == [str(alive)]
    assert await findings(service) == [("abandoned", str(dead), "removed")]


async def test_a_missing_object_is_said_and_never_repaired(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    first, second = [(await ada.upload(content))[1] for content in (b"first", b"second")]
    blob = service.root / "blobs" / first["file_path"]
    (service.root / "blobs" / second["file_path"]).write_bytes(b"sec")
    blob.unlink()
    result = await upkeep.jobs.run("missing") or {}
    assert (result["looked"], result["found"], UUID(result["after"]).int) == (2, 2, 0)
    assert sorted(await findings(service)) == [
        ("damaged", second["file_path"], None),
        ("missing", first["file_path"], None),
    ]
    assert (await ada.quota())["used"] == 11
    assert (await ada.call("GET", f"/api/storage/files/{first['file_id']}"))[1]["state"] == "ready"
    assert (await ada.call("GET", f"/api/storage/files/{first['file_id']}/content"))[0] == 404
    put(blob, b"first")
    await ada.call("DELETE", f"/api/storage/files/{second['file_id']}")
    assert ((await upkeep.jobs.run("missing")) or {})["back"] == 1
    assert sorted(await findings(service)) == [
        ("damaged", second["file_path"], "gone"),
        ("missing", first["file_path"], "back"),
    ]


async def test_expired_reservations_are_given_back(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    await ada.quota()
    await query(
        service.dsn.superuser,
        "INSERT INTO reservation (id, tenant_id, size, expires_at) VALUES ($1, $2, 4, now() - interval '1 s')",
        uuid4(),
        ada.tenant,
    )
    await query(service.dsn.superuser, "UPDATE tenant_storage SET reserved = 4")
    assert await upkeep.jobs.run("reservations") == {"uploads": 1, "bytes": 4}
    assert (await ada.quota())["reserved"] == 0
    assert await upkeep.jobs.run("reservations") is None
