"""Objects without a row and rows without an object: noted, removed after a grace time or said aloud."""

import os
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from services.upload.findings.orphans import Orphans
from services.upload.upkeep import Upkeep
from shared.http import encode_cursor
from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.services.upload.conftest import SECRET, Upload

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


async def test_staff_reads_what_was_found_of_everybody(service: Upload, upkeep: Upkeep) -> None:
    ada, ben = service.customer(), service.customer()
    for who in (ada, ben):
        made = (await who.upload(b"gone"))[1]
        (service.root / "blobs" / made["file_path"]).unlink()
    await upkeep.jobs.run("missing")
    put(service.root / "staging" / str(uuid4()))
    await upkeep.jobs.run("orphans")

    async def ask(query: str = "", *, is_admin: bool = True) -> tuple[int, Any]:
        who = Principal(kind="user", user_id=ada.user, tenant_id=ada.tenant, role="owner", is_admin=is_admin)
        token = sign(who, secret=SECRET, audience="upload", issuer="gateway")
        return (await ada.call("GET", f"/api/storage/findings{query}", headers={"stowage-internal": token}))[:2]

    status, page = await ask()
    assert status == 200, page
    assert [item["kind"] for item in page["items"]] == ["abandoned", "missing", "missing"]
    assert {item["tenant_id"] for item in page["items"]} == {None, str(ada.tenant), str(ben.tenant)}
    assert (page["items"][0]["outcome"], page["items"][1]["outcome"]) == ("removed", None)
    _, still = await ask("?open=true&limit=1")
    _, rest = await ask(f"?open=true&limit=1&cursor={still['next_cursor']}")
    assert [*still["items"], *rest["items"]] == page["items"][1:]
    assert rest["next_cursor"] is None
    assert [item["kind"] for item in (await ask("?open=false"))[1]["items"]] == ["abandoned"]
    assert (await ask("?kind=orphan"))[1]["items"] == []
    for wrong in ("?kind=lost", "?cursor=AAAA", f"?cursor={encode_cursor('2026-01-01T00:00:00', uuid4())}"):
        assert (await ask(wrong))[0] == 422, wrong
    status, refused = await ask(is_admin=False)
    assert (status, refused["code"]) == (403, "admin_required")
    # The next one on the same connection sees what it may see.
    async with service.app.state.services.findings._database.transaction(ada.tenant) as connection:
        assert await connection.fetchval("SELECT count(*) FROM storage_finding") == 1
        await connection.execute("SELECT set_config('app.staff', 'findings', true)")
        assert await connection.execute("UPDATE storage_finding SET outcome = 'gone'") == "UPDATE 1", "staff only reads"
