"""The ledger taken away, and checked by what has nothing of ours."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from services.upload.ledger import download
from services.upload.quota import adjusting
from shared.db import Database
from shared.events import StorageAdjusted
from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.services.upload.conftest import SECRET, Customer, Upload

CHECK = Path(__file__).resolve().parents[4] / "docs" / "check_ledger.py"


async def worked(service: Upload) -> Customer:
    """Everything that can happen to a file happens."""
    ada = service.customer()
    ids = [(await ada.upload(b"x" * (n + 1), name=f"{n}.txt"))[1]["file_id"] for n in range(4)]
    await ada.call("PUT", f"/api/storage/files/{ids[1]}/content", data=b"newer")
    place = {"category": "properties", "entity_id": "e-1"}
    assert (await ada.call("PATCH", f"/api/storage/files/{ids[2]}", json=place))[0] == 200
    assert (await ada.call("DELETE", f"/api/storage/files/{ids[0]}"))[0] == 204
    return ada


async def fetched(ada: Customer, path: str = "/api/storage/ledger") -> list[dict[str, Any]]:
    status, body, headers = await ada.call("GET", path)
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in body.splitlines()]


async def internal(ada: Customer, path: str) -> Any:
    token = sign(Principal(kind="service"), secret=SECRET, audience="upload", issuer="usage")
    status, body, _ = await ada.call(
        "GET", f"/internal/ledger/{ada.tenant}/{path}", headers={"stowage-internal": token}
    )
    assert status == 200, body
    return body


async def checked(folder: Path, entries: list[dict[str, Any]], proof: Any = None) -> tuple[int, str]:
    """Exit status and words of the script that tenants are given."""
    ledger, told = folder / "ledger.ndjson", folder / "proof.json"
    ledger.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    told.write_text(json.dumps(proof))
    words = [sys.executable, "-I", CHECK, ledger, *([told] if proof else [])]
    process = await asyncio.create_subprocess_exec(*map(str, words), stdout=-1, stderr=asyncio.subprocess.STDOUT)
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def proof_of(ada: Customer) -> Any:
    """As `/api/usage/proof` tells it."""
    found = await internal(ada, "proof")
    kinds = [
        {"file_type": k["file_type"], "category": k["category"], "ledger": {"bytes": k["bytes"], "files": k["files"]}}
        for k in found["by_category"]
        if k["files"]
    ]
    return {"position": found["position"], "head_hash": found["head_hash"], "by_category": kinds}


async def test_a_script_of_sixty_lines_checks_it(service: Upload, tmp_path: Path) -> None:
    ada = await worked(service)
    entries, proof = await fetched(ada), await proof_of(ada)
    assert [entry["seq"] for entry in entries] == list(range(1, 8))
    status, said = await checked(tmp_path, entries, proof)
    assert (status, said.splitlines()[-1]) == (0, "as the proof says"), said
    assert "12 bytes in 3 files" in said
    await ada.upload(b"later")
    longer = await fetched(ada)
    assert longer[:7] == entries
    assert (await checked(tmp_path, longer, proof))[0] == 0, (
        "a proof of an earlier position is of the ledger up to there"
    )


@pytest.mark.parametrize("field", ["seq", "id", "type", "time", "body", "previous", "hash"])
async def test_the_script_sees_any_change(service: Upload, tmp_path: Path, field: str) -> None:
    ada = await worked(service)
    entries = await fetched(ada)
    other = {"seq": 9, "body": entries[2]["body"].replace("x", "y"), "type": "file.trashed"}
    altered = [*entries[:3], {**entries[3], field: other.get(field, entries[2][field])}, *entries[4:]]
    assert altered != entries
    status, said = await checked(tmp_path, altered)
    assert (status, "the chain breaks at entry 4" in said) == (1, True), said


async def test_the_script_sees_what_is_left_out_and_what_is_claimed(service: Upload, tmp_path: Path) -> None:
    ada = await worked(service)
    entries, proof = await fetched(ada), await proof_of(ada)
    assert "breaks at entry 3" in (await checked(tmp_path, entries[:2] + entries[3:]))[1]
    proof["by_category"][0]["ledger"]["bytes"] += 1
    assert "another story" in (await checked(tmp_path, entries, proof))[1]
    assert "another story" in (await checked(tmp_path, entries[:5], proof))[1]


async def test_in_pages_from_anywhere(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAGE", 2)
    ada = await worked(service)
    entries = await fetched(ada)
    assert await fetched(ada, "/api/storage/ledger?after=3") == entries[3:]
    assert await fetched(ada, "/api/storage/ledger?after=7") == []


async def test_the_head_at_any_position(service: Upload) -> None:
    ada = await worked(service)
    heads = [bytes(32).hex(), *(entry["hash"] for entry in await fetched(ada))]
    for position, head in enumerate(heads):
        _, told, _ = await ada.call("GET", f"/api/storage/ledger/head?position={position}")
        assert told == {"position": position, "head_hash": head}
    assert (await ada.call("GET", "/api/storage/ledger/head"))[1] == told
    status, refused, _ = await ada.call("GET", "/api/storage/ledger/head?position=8")
    assert (status, refused["code"]) == (409, "position_ahead")


async def test_each_reads_their_own(service: Upload) -> None:
    ada, eve = await worked(service), service.customer()
    assert await fetched(eve) == []
    assert (await eve.call("GET", "/api/storage/ledger/head?position=1"))[0] == 409
    assert {json.loads(entry["body"])["tenant_id"] for entry in await fetched(ada)} == {str(ada.tenant)}


async def test_what_was_stored_at_any_moment(service: Upload) -> None:
    """Against a sum over the bodies that shares no code with ours."""
    ada = await worked(service)
    entries = await fetched(ada)
    sums: dict[tuple[str, str], list[int]] = {}

    def add(file: dict[str, Any], sign: int) -> None:
        held = sums.setdefault((file["file_type"], file["category"]), [0, 0])
        held[0] += sign * file["size"]
        held[1] += sign

    for entry in entries:
        body = json.loads(entry["body"])
        if "previous" in body:
            add(body["previous"], -1)
        add(body, -1 if entry["type"] == "file.deleted" else 1)
        found = await internal(ada, f"at?time={quote(entry['time'])}")
        assert (found["position"], found["head_hash"]) == (entry["seq"], entry["hash"])
        told = {(k["file_type"], k["category"]): [k["bytes"], k["files"]] for k in found["by_category"]}
        assert told == {kind: held for kind, held in sums.items() if held != [0, 0]}
    before = await internal(ada, "at?time=2000-01-01T00:00:00Z")
    assert (before["position"], before["bytes"], before["by_category"]) == (0, 0, [])
    now = quote(datetime.now(UTC).isoformat())
    assert (await internal(ada, f"at?time={now}"))["position"] == 7


async def test_entries_that_crossed_are_all_of_now(service: Upload) -> None:
    """In an old ledger a deletion overtook an upload that was stored before it: entry 3 is earlier than entry 2."""
    ada = service.customer()
    file = (await ada.upload(b"x"))[1]["file_id"]
    assert (await ada.call("DELETE", f"/api/storage/files/{file}"))[0] == 204
    await ada.upload(b"xyz")
    begun = (await service.ledger(ada.tenant))[0]["occurred_at"]
    await query(service.dsn.superuser, "ALTER TABLE storage_transaction DISABLE TRIGGER append_only")
    for seq, second in ((2, 5), (3, 3)):
        moved = "UPDATE storage_transaction SET occurred_at = $3 WHERE tenant_id = $1 AND seq = $2"
        await query(service.dsn.superuser, moved, ada.tenant, seq, begun + timedelta(seconds=second))
    found = {}
    for second in (2, 4, 5, 60):
        told = await internal(ada, f"at?time={quote((begun + timedelta(seconds=second)).isoformat())}")
        found[second] = (told["position"], told["bytes"])
    assert found == {2: (1, 1), 4: (1, 1), 5: (3, 3), 60: (3, 3)}


async def test_an_entry_is_never_earlier_than_the_one_before_it(service: Upload) -> None:
    """Whose clock was ahead: another process's, or a correction's."""
    ada = service.customer()
    await ada.upload(b"x")
    ahead = datetime.now(UTC) + timedelta(hours=1)
    await query(service.dsn.superuser, "ALTER TABLE storage_transaction DISABLE TRIGGER append_only")
    await query(service.dsn.superuser, "UPDATE storage_transaction SET occurred_at = $1", ahead)
    await ada.upload(b"xyz")
    async with Database(service.dsn.app) as database, database.transaction(ada.tenant) as connection:
        head = await adjusting.lock(connection, ada.tenant)
        assert head is not None
        correction = StorageAdjusted(
            tenant_id=ada.tenant,
            id=uuid4(),
            file_type="document",
            category="documents",
            project_id=None,
            delta_bytes=1,
            delta_files=0,
            reason="counted again",
            at=datetime.now(UTC),
            partial=False,
        )
        await adjusting.adjust(connection, ada.tenant, head, [correction], 5, 2)
    assert [entry["occurred_at"] for entry in await service.ledger(ada.tenant)] == [ahead] * 3


async def test_nobody_else_may_look_back(service: Upload) -> None:
    ada = await worked(service)
    status, _, _ = await ada.call("GET", f"/internal/ledger/{ada.tenant}/at?time=2026-01-01T00:00:00Z")
    assert status == 404
