"""The service on every backend: what a client sees is the same, and the proof agrees with the store."""

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from services.upload.blobs.garbage import Garbage
from services.upload.blobs.open import open_locations
from services.upload.blobs.parts import READY
from services.upload.findings.orphans import Orphans
from services.upload.settings import Settings
from shared.db import Database
from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.fixtures.stores import KINDS, ObjectServer, told
from tests.services.upload.conftest import SECRET, Billing, Customer, Upload, serving, settings_for

MIB = 1024 * 1024
on_every_backend = pytest.mark.parametrize("service", KINDS, indirect=True)


async def clean(service: Upload) -> None:
    """As the worker does, once everything has settled long ago."""
    settings = service.settings
    locations = open_locations(settings)
    async with Database(service.dsn.worker, pool_size=2, application_name="test") as database:
        await Garbage(database, locations).run()
        await Orphans(database, locations, settled_after=-60, grace=-60).run()
    await locations.close()


async def objects(settings: Settings) -> dict[str, int]:
    """Everything there is in the stores, the note of readiness apart."""
    locations = open_locations(settings)
    found = {
        entry.path: entry.size
        for name in locations.names
        async for entry in locations[name].walk("")
        if entry.path != READY
    }
    await locations.close()
    return found


async def prove(customer: Customer) -> dict[str, int]:
    who = Principal(kind="service", user_id=None, tenant_id=None, tenant_slug=None, role=None)
    headers = {"stowage-internal": sign(who, secret=SECRET, audience="upload", issuer="usage")}
    status, proof, _ = await customer.call("GET", f"/internal/ledger/{customer.tenant}/proof", headers=headers)
    assert status == 200, proof
    store: dict[str, int] = proof["store"]
    assert (proof["store"]["missing"], proof["store"]["orphans_bytes"]) == ([], 0)
    return {"bytes": store["bytes"], "files": store["files"]}


@on_every_backend
async def test_a_file_s_whole_life(service: Upload, billing: Billing) -> None:
    billing.limit = 10**9
    async with service.http.get(f"{service.url}/readyz") as answer:
        assert answer.status == 200
    for size in (0, 100, 20 * MIB):
        await live(service, (b"\0" + os.urandom(size))[:size])  # never taken for text


async def live(service: Upload, content: bytes) -> None:
    ada, size = service.customer(), len(content)
    status, made = await ada.upload(content)
    assert status == 201, made
    assert (made["file_size"], made["sha256"]) == (size, hashlib.sha256(content).hexdigest())
    assert await objects(service.settings) == {made["file_path"]: size}
    assert await prove(ada) == {"bytes": size, "files": 1}
    where = f"/api/storage/files/{made['file_id']}"
    status, body, headers = await ada.call("GET", f"{where}/content")
    assert (status, headers["content-length"]) == (200, str(size))
    assert (body or b"") == content
    link = urlsplit((await ada.call("GET", f"{where}/url"))[1]["url"])
    status, body, _ = await ada.call("GET", f"{link.path}?{link.query}")
    assert (status, body or b"") == (200, content)
    if size:
        status, body, _ = await ada.call("GET", f"{where}/content", headers={"Range": "bytes=10-29"})
        assert (status, body) == (206, content[10:30])
    assert (await ada.call("DELETE", where))[0] == 204
    assert (await ada.quota())["used"] == 0
    await clean(service)
    assert await objects(service.settings) == {}


@on_every_backend
async def test_what_is_refused_leaves_nothing(service: Upload, billing: Billing) -> None:
    billing.limit = 10 * MIB
    ada = service.customer()
    status, refused = await ada.upload(b"x" * (10 * MIB + 1), say=False)
    assert (status, refused["code"]) == (413, "quota_exceeded")
    status, refused = await ada.upload(b"x" * (9 * MIB), fields={"category": "nothing-like-it"})
    assert status == 422
    assert (await ada.quota())["reserved"] == 0
    assert await objects(service.settings) == {}


@pytest.mark.parts("s3_program")
async def test_a_tenant_s_files_lie_where_it_was_said(
    service: Upload, billing: Billing, s3_server: ObjectServer, tmp_path: Path
) -> None:
    """A second store in a bucket of its own; a file remembers its store when the tenant moves on."""
    place = {name.removeprefix("s3_"): value for name, value in told("s3", s3_server, f"own-{uuid4().hex[:8]}").items()}
    place["backend"] = place.pop("storage_backend")
    file = tmp_path / "locations.yaml"
    file.write_text("eu-1:\n" + "".join(f"  {name}: '{value}'\n" for name, value in place.items()))
    settings = settings_for(service.dsn.app, service.root, billing.url, storage_locations=file)
    from services.upload.main import create

    app = create(settings)
    async for _ in serving(app, settings):
        other = Upload(settings.base_url, app, service.dsn, service.root, settings, service.http)
        ada = other.customer()
        before = (await ada.upload(b"at home"))[1]
        await query(other.dsn.superuser, "UPDATE tenant_storage SET location = 'eu-1' WHERE tenant_id = $1", ada.tenant)
        app.state.services.intake._entitlements._terms.clear()  # what is known for a second
        after = (await ada.upload(b"abroad"))[1]
        rows = await query(other.dsn.superuser, "SELECT path, location FROM stored_file ORDER BY location")
        assert {row["path"]: row["location"] for row in rows} == {
            before["file_path"]: "default",
            after["file_path"]: "eu-1",
        }
        assert len(other.blobs()) == 1
        for made, content in ((before, b"at home"), (after, b"abroad")):
            assert (await ada.call("GET", f"/api/storage/files/{made['file_id']}/content"))[1] == content
        assert await prove(ada) == {"bytes": 13, "files": 2}
