"""A tenant erased: nothing of it is left but what proves it, and the chain of its ledger holds."""

import asyncio
import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from minio import Minio

from services.upload.blobs.local import LocalStore
from services.upload.blobs.open import open_locations
from services.upload.erasure import erasing, repository
from services.upload.imports.open import open_importer
from services.upload.imports.service import Source
from services.upload.ledger.chain import ChainBroken
from services.upload.upkeep import Upkeep, open_upkeep
from shared import faults
from shared.events import FileEvent
from shared.events.registry import decode
from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.fixtures.stores import KINDS, ObjectServer, told
from tests.fixtures.trouble import Troublemaker
from tests.services.upload.conftest import SECRET, Billing, Customer, Upload, settings_for

PATH = "/api/admin/erasures"


class Admin(Customer):
    @property
    def token(self) -> str:
        return sign(
            Principal(kind="user", user_id=self.user, is_admin=True), secret=SECRET, audience="upload", issuer="g"
        )


class Died(BaseException):
    """As a killed process would end."""


def admin(service: Upload) -> Admin:
    return Admin(service, uuid4(), uuid4())


async def publish(service: Upload) -> None:
    await query(
        service.dsn.superuser,
        "INSERT INTO outbox_cursor (topic, tenant_id, published_seq) "
        "SELECT 'files.v1', tenant_id, seq FROM tenant_storage "
        "ON CONFLICT (topic, tenant_id) DO UPDATE SET published_seq = excluded.published_seq",
    )


async def erase(service: Upload, upkeep: Upkeep, tenant: UUID) -> dict[str, Any]:
    status, answer, _ = await admin(service).call("POST", PATH, json={"tenant_id": str(tenant)})
    assert status == 202, answer
    await upkeep.jobs.run("erasures")  # deletes
    await publish(service)
    await upkeep.jobs.run("erasures")
    answer = (await admin(service).call("GET", f"{PATH}?tenant_id={tenant}"))[1]
    assert answer["status"] == "done", answer
    return answer  # type: ignore[no-any-return]


async def fill(service: Upload, ada: Customer) -> list[bytes]:
    contents = [b"secret one", b"secret two", b"secret trash"]
    made = [
        (await ada.upload(content, name=f"Ada {n}.txt", fields={"folder": "Ada"}))[1]
        for n, content in enumerate(contents)
    ]
    await query(
        service.dsn.superuser, "UPDATE stored_file SET trashed_at = now() WHERE id::text = $1", made[2]["file_id"]
    )
    before = (await ada.upload(b"deleted before", name="Ada.txt"))[1]
    await ada.call("DELETE", f"/api/storage/files/{before['file_id']}")
    return contents


async def test_nothing_is_left_but_the_proof(service: Upload, upkeep: Upkeep) -> None:
    ada, bob = service.customer(), service.customer()
    contents = await fill(service, ada)
    kept = (await bob.upload(b"bob"))[1]
    await ada.call("POST", "/api/user/export-data", json={})
    await ada.call("POST", "/api/user/storage-cleanup", json={"duplicates": True, "dry_run": True})
    await upkeep.jobs.run("exports")
    answer = await erase(service, upkeep, ada.tenant)
    certificate = json.loads(answer["certificate"])
    entries = await service.ledger(ada.tenant)
    removed = [entry for entry in entries[-3:] if entry["action"] == "delete"]
    account = await service.account(ada.tenant)
    assert len(removed) == 3
    assert certificate["removed"]["files"] == 3
    assert certificate["removed"]["bytes"] == sum(map(len, contents))
    assert certificate["ledger"] == {"position": 8, "head_hash": account["head_hash"].hex(), "used": 0}
    assert certificate["objects_left"] == {"default": 0}
    left = [str(path) for path in service.blobs()]
    assert len(left) == 1
    assert left[0].endswith(kept["file_path"])
    assert (await bob.call("GET", f"/api/storage/files/{kept['file_id']}/content"))[1] == b"bob"
    # No table says a word of it.
    tables = await query(
        service.dsn.superuser, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relforcerowsecurity"
    )
    for (table,) in tables:
        rows = await query(
            service.dsn.superuser, f"SELECT to_jsonb(t)::text FROM {table} AS t WHERE tenant_id = $1", ada.tenant
        )
        for (row,) in rows:
            assert "Ada" not in row, table
            assert table == "erasure" or str(ada.user) not in row, table
    hashes = hashlib.sha256("".join(f"{h}\n" for h in await _deleted(contents, certificate)).encode()).hexdigest()
    assert certificate["removed"]["hashes"] == hashes


async def _deleted(contents: list[bytes], certificate: dict[str, Any]) -> list[str]:
    """In whatever order they went: the one whose hash is certified."""
    for order in itertools.permutations(hashlib.sha256(content).hexdigest() for content in contents):
        if hashlib.sha256("".join(f"{h}\n" for h in order).encode()).hexdigest() == certificate["removed"]["hashes"]:
            return list(order)
    return []


async def test_the_chain_holds_and_the_ledger_can_be_published_again(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    await fill(service, ada)
    before = await service.ledger(ada.tenant)
    await erase(service, upkeep, ada.tenant)
    proof = await service.app.state.services.proof.prove(ada.tenant, None)
    assert (proof.position, sum(kind.bytes for kind in proof.kinds), proof.store.orphans_bytes) == (8, 0, 0)
    after = await service.ledger(ada.tenant)
    for old, new in zip(before, after, strict=False):
        event, told = decode(old["type"], old["body"]), decode(new["type"], new["body"])
        assert isinstance(event, FileEvent)
        assert isinstance(told, FileEvent)
        assert (new["hash"], new["seq"], new["delta"]) == (old["hash"], old["seq"], old["delta"])
        assert (told.file_id, told.size, told.category) == (event.file_id, event.size, event.category)
        assert (told.name, told.path, told.uploaded_by) == ("", "", None)
    # A redacted entry's hash still binds the ones behind it.
    await query(service.dsn.superuser, "ALTER TABLE storage_transaction DISABLE TRIGGER append_only")
    await query(service.dsn.superuser, "UPDATE storage_transaction SET hash = '\\x00' WHERE seq = 3")
    with pytest.raises(ChainBroken):
        await service.app.state.services.proof.prove(ada.tenant, None)


async def test_twice_is_once(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    await fill(service, ada)
    first = await erase(service, upkeep, ada.tenant)
    assert await erase(service, upkeep, ada.tenant) == first
    nobody = await erase(service, upkeep, uuid4())
    assert json.loads(nobody["certificate"])["removed"] == {
        "files": 0,
        "bytes": 0,
        "hashes": hashlib.sha256().hexdigest(),
    }


async def test_nothing_new_is_accepted_from_the_request_on(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    await ada.upload(b"before")
    await admin(service).call("POST", PATH, json={"tenant_id": str(ada.tenant)})
    status, answer = await ada.upload(b"after")
    # The account refuses at once; the plan's terms, which say why, may be a second old.
    assert (status, answer["code"]) in {(413, "quota_exceeded"), (403, "tenant_deleted")}
    await upkeep.jobs.run("erasures")
    assert (await ada.upload(b"after"))[0] in {403, 413}


async def test_it_waits_until_everybody_has_heard(service: Upload, upkeep: Upkeep) -> None:
    ada = service.customer()
    await fill(service, ada)
    await admin(service).call("POST", PATH, json={"tenant_id": str(ada.tenant)})
    await upkeep.jobs.run("erasures")
    answer = (await admin(service).call("GET", f"{PATH}?tenant_id={ada.tenant}"))[1]
    assert (answer["status"], answer["waits_for"]) == ("pending", "the ledger is not published to its end")
    assert not service.blobs(), "the bytes do not wait"
    assert all(entry["redacted_at"] is None for entry in await service.ledger(ada.tenant))


MANY = 3000  # objects, half of them noted to be removed


@pytest.mark.parametrize("service", KINDS[:2], indirect=True)
async def test_thousands_of_objects_go_in_a_few_requests(
    service: Upload, billing: Billing, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a death in the middle costs nothing but asking again."""
    remote = service.settings.storage_backend == "s3"
    server = request.getfixturevalue("s3_server") if remote else None
    bucket = service.settings.s3_bucket
    ada, bob = service.customer(), service.customer()
    kept = (await bob.upload(b"bob"))[1]["file_path"]
    await ada.upload(b"ada")
    locations = open_locations(service.settings)
    store = locations["default"]
    names = [f"customers/{ada.tenant}/documents/{n % 7}/{n}.txt" for n in range(MANY)]
    await asyncio.to_thread(_fill, service, server, names)
    await query(
        service.dsn.superuser,
        "INSERT INTO blob_garbage (tenant_id, path, size, at) SELECT $1, p, 1, now() + interval '1 day' "
        "FROM unnest($2::text[]) AS p",
        ada.tenant,
        names[: MANY // 2],
    )
    proxy = Troublemaker(server.url if server is not None else "")
    threads: Counter[str] = Counter()
    async with proxy.running():
        changes = {} if server is None else told("s3", server, bucket, proxy.url)
        settings = settings_for(service.dsn.worker, service.root, billing.url, **changes)
        async with open_upkeep(settings) as upkeep:
            if server is None:
                real = LocalStore.delete_all

                async def counted(self: LocalStore, paths: Sequence[str]) -> None:
                    threads["POST"] += 1
                    await real(self, paths)

                monkeypatch.setattr(LocalStore, "delete_all", counted)
            await admin(service).call("POST", PATH, json={"tenant_id": str(ada.tenant)})

            def die(name: str) -> None:
                if name == "upload.emptying":
                    raise Died

            with monkeypatch.context() as patched, pytest.raises(Died):
                patched.setattr(faults, "reach", die)
                await upkeep.jobs.run("erasures")
            assert 0 < len([found async for found in store.walk(f"customers/{ada.tenant}/")]) < MANY
            certificate = json.loads((await erase(service, upkeep, ada.tenant))["certificate"])
    assert certificate["objects_left"] == {"default": 0}
    assert [found.path async for found in store.walk("customers/")] == [kept]
    await locations.close()
    asked = threads if server is None else proxy.asked
    assert sum(times for what, times in asked.items() if what.split()[0] in {"DELETE", "POST"}) <= MANY // 1000 + 5


def _fill(service: Upload, server: ObjectServer | None, names: list[str]) -> None:
    """Objects of a byte."""
    if server is None:
        for name in names:
            place = service.root / "blobs" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"x")
        return
    client = Minio(urlsplit(server.url).netloc, server.key, server.secret, secure=False, region="us-east-1")
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: client.put_object(service.settings.s3_bucket, name, io.BytesIO(b"x"), 1), names))


@pytest.mark.parametrize("place", ["upload.erasing", "upload.redacted"])
async def test_a_death_in_between(service: Upload, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    ada = service.customer()
    await fill(service, ada)
    monkeypatch.setattr(repository, "REDACTED", 4)
    monkeypatch.setattr(erasing, "TOGETHER", 2)

    def die(name: str) -> None:
        if name == place:
            raise Died

    await admin(service).call("POST", PATH, json={"tenant_id": str(ada.tenant)})
    if place == "upload.redacted":
        await upkeep.jobs.run("erasures")
        await publish(service)
    monkeypatch.setattr(faults, "reach", die)
    with pytest.raises(Died):
        await upkeep.jobs.run("erasures")
    monkeypatch.setattr(faults, "reach", lambda _name: None)
    certificate = json.loads((await erase(service, upkeep, ada.tenant))["certificate"])
    assert (certificate["removed"]["files"], certificate["removed"]["bytes"]) == (3, 32)
    assert all(entry["redacted_at"] for entry in await service.ledger(ada.tenant))


async def test_the_signature_is_ours(service: Upload, upkeep: Upkeep) -> None:
    answer = await erase(service, upkeep, uuid4())
    said = {"certificate": answer["certificate"], "signature": answer["signature"]}
    assert (await admin(service).call("POST", f"{PATH}/check", json=said))[1] == {"genuine": True}
    said["certificate"] = said["certificate"].replace('"files":0', '"files":1')
    assert (await admin(service).call("POST", f"{PATH}/check", json=said))[1] == {"genuine": False}


async def test_only_administrators(service: Upload) -> None:
    ada = service.customer()
    body = {"tenant_id": str(ada.tenant)}
    assert (await ada.call("POST", PATH, json=body))[1]["code"] == "admin_required"
    assert (await ada.call("GET", f"{PATH}?tenant_id={ada.tenant}"))[0] == 403
    assert (await admin(service).call("GET", f"{PATH}?tenant_id={uuid4()}"))[1]["code"] == "erasure_not_found"


@pytest.mark.parametrize(
    "change",
    ["delta = delta + 1", "redacted_at = now(), delta = 0", "body = ''", "redacted_at = now(), hash = '\\x00'"],
)
async def test_a_ledger_of_the_living_is_not_redacted(service: Upload, change: str) -> None:
    ada = service.customer()
    await ada.upload(b"content")
    for statement in (f"UPDATE storage_transaction SET {change}", "UPDATE storage_transaction SET redacted_at = now()"):
        with pytest.raises(Exception, match="append only"):
            await query(service.dsn.worker, statement)
    await query(service.dsn.superuser, "UPDATE tenant_storage SET deleted_at = now()")
    with pytest.raises(Exception, match="append only"):
        await query(service.dsn.worker, f"UPDATE storage_transaction SET {change}")


async def test_one_that_the_database_refuses_does_not_keep_the_others_waiting(service: Upload, upkeep: Upkeep) -> None:
    ada, bob = service.customer(), service.customer()
    for who in (ada, bob):
        assert (await who.upload(b"content"))[0] == 201
        await admin(service).call("POST", PATH, json={"tenant_id": str(who.tenant)})
    await query(
        service.dsn.superuser,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$",
    )
    await query(
        service.dsn.superuser,
        "CREATE TRIGGER refuse BEFORE DELETE ON stored_file FOR EACH ROW "
        f"WHEN (OLD.tenant_id = '{ada.tenant}') EXECUTE FUNCTION refuse()",
    )
    await upkeep.jobs.run("erasures")
    await publish(service)
    assert await upkeep.jobs.run("erasures") == {"erased": [str(bob.tenant)]}
    left = (await admin(service).call("GET", f"{PATH}?tenant_id={ada.tenant}"))[1]
    assert (left["status"], left["waits_for"]) == ("pending", "not this one")
    await query(service.dsn.superuser, "DROP TRIGGER refuse ON stored_file")
    await upkeep.jobs.run("erasures")
    await publish(service)
    assert await upkeep.jobs.run("erasures") == {"erased": [str(ada.tenant)]}


async def test_nothing_is_left_of_what_was_adopted_or_had_only_begun(service: Upload, upkeep: Upkeep) -> None:
    """Objects that lie elsewhere in the store than a tenant's files do."""
    ada = service.customer()
    await ada.upload(b"content")
    adopted = service.root / "blobs" / "archive" / "old.txt"
    adopted.parent.mkdir()
    adopted.write_bytes(b"adopted")
    importer = open_importer(service.settings, upkeep)
    source = Source(ada.tenant, "default", "archive", "documents", enforce=True)
    assert (await importer.setup_storage_usage_tracking(source))["files"] == 1
    said = {"Tus-Resumable": "1.0.0", "Upload-Length": "100", "Upload-Metadata": "filename eA==,category ZG9jdW1lbnRz"}
    _, _, answer = await ada.call("POST", "/api/storage/uploads", headers=said)
    piece = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    status, _, _ = await ada.call("PATCH", urlsplit(answer["location"]).path, data=b"begun", headers=piece)
    assert status == 204
    wanted = {"file_name": "x.bin", "file_size": 6, "content_type": "application/octet-stream", "category": "documents"}
    offer = (await ada.call("POST", "/api/storage/direct-uploads", json=wanted))[1]
    path = offer["url"].removeprefix(service.url)
    assert (await ada.call("PUT", path, data=b"direct", headers=offer["headers"]))[0] in {202, 204}
    assert len(service.blobs()) == 4
    certificate = json.loads((await erase(service, upkeep, ada.tenant))["certificate"])
    assert certificate["removed"]["files"] == 2
    assert service.blobs() == []
