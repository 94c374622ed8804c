"""Uppy's S3 plugin, unmodified, against the routes it expects."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.upload.blobs.digest import Digest
from tests.fixtures.parts import NPM
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload
from tests.services.upload.direct.conftest import cleanup_of, objects

SCRIPT = Path(__file__).parent / "uppy.mjs"
MIB = 1024 * 1024
S3 = "/api/storage/s3"
META = {"category": "documents", "subcategory": "leases"}

on_s3 = pytest.mark.parametrize("remote", [pytest.param("s3", marks=pytest.mark.parts("s3_program"))], indirect=True)


@pytest.fixture
async def ada(remote: Upload) -> Customer:
    """With room for 30 MiB."""
    customer = remote.customer()
    await customer.quota()
    await query(remote.dsn.superuser, "UPDATE tenant_storage SET limit_bytes = $1", 30 * MIB)
    return customer


async def run_uppy(customer: Customer, *, files: list[dict[str, Any]], **told: Any) -> Any:
    assert shutil.which("node")
    said = {"endpoint": f"{customer.service.url}/api/storage", "token": customer.token, "files": files, "meta": META}
    process = await asyncio.create_subprocess_exec(
        "node",
        "--no-warnings",
        str(SCRIPT),
        str((NPM / "node_modules").resolve()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate(json.dumps({**said, "multipart": True, **told}).encode())
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


@on_s3
@pytest.mark.usefixtures("uppy_core", "uppy_s3")
async def test_unmodified_uppy_uploads_in_parts(ada: Customer) -> None:
    files = [
        {"name": "large.bin", "type": "application/octet-stream", "size": 12 * MIB, "fill": 7},
        {"name": "kleine Straße.txt", "type": "text/plain", "size": 1000, "fill": 65},
    ]
    done = await run_uppy(ada, files=files)
    assert done["failed"] == []
    stored = {file["file_name"]: file for file in (await ada.call("GET", "/api/storage/files"))[1]["items"]}
    assert stored["large.bin"]["sha256"] == hashlib.sha256(b"\x07" * 12 * MIB).hexdigest()
    assert stored["kleine Straße.txt"]["subcategory"] == "leases"
    quota = await ada.quota()
    assert (quota["used"], quota["reserved"]) == (12 * MIB + 1000, 0)
    location = next(file["body"]["location"] for file in done["successful"] if file["name"] == "large.bin")
    assert "/api/storage/signed/" in location


@on_s3
@pytest.mark.usefixtures("uppy_core", "uppy_s3")
async def test_unmodified_uppy_uploads_by_form_when_it_says_the_size(remote: Upload, ada: Customer) -> None:
    files = [{"name": "small.txt", "type": "text/plain", "size": 5000, "fill": 65}]
    done = await run_uppy(ada, files=files, multipart=False)
    assert [failure["name"] for failure in done["failed"]] == ["small.txt"]
    done = await run_uppy(ada, files=files, multipart=False, meta={**META, "size": 5000})
    assert done["failed"] == []
    assert (await ada.call("GET", "/api/storage/files"))[1]["items"] == []
    # Nobody says that it is done: the worker sees it.
    async with cleanup_of(remote) as cleanup:
        await cleanup.collect()
    (file,) = (await ada.call("GET", "/api/storage/files"))[1]["items"]
    assert (file["file_name"], file["file_size"]) == ("small.txt", 5000)
    assert await objects(remote) == {file["file_path"]: 5000}
    assert (await ada.quota())["reserved"] == 0


@on_s3
@pytest.mark.usefixtures("uppy_core", "uppy_s3")
async def test_uppy_is_refused_after_one_part_too_many_at_most(remote: Upload, ada: Customer) -> None:
    files = [{"name": "large.bin", "type": "application/octet-stream", "size": 40 * MIB, "fill": 7}]
    done = await run_uppy(ada, files=files)
    assert [failure["name"] for failure in done["failed"]] == ["large.bin"]
    assert await objects(remote) == {}
    assert (await ada.quota())["reserved"] <= 30 * MIB
    (upload,) = await query(remote.dsn.superuser, "SELECT id FROM direct_upload")
    _, parts, _ = await ada.call("GET", f"{S3}/multipart/{upload['id']}")
    assert sum(part["Size"] for part in parts) <= 30 * MIB
    assert (await ada.call("DELETE", f"{S3}/multipart/{upload['id']}"))[0] == 200
    assert (await ada.quota())["reserved"] == 0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes longer than a request waits for it."""
    of = Digest.of

    async def read_slowly(chunks: AsyncIterator[bytes]) -> Digest:
        await asyncio.sleep(1)
        return await of(chunks)

    monkeypatch.setattr(Digest, "of", read_slowly)
    monkeypatch.setattr("services.upload.direct.service.PATIENCE", 0.2)


@on_s3
@pytest.mark.usefixtures("uppy_core", "uppy_s3", "slow")
async def test_unmodified_uppy_waits_for_a_file_that_takes_long(remote: Upload, ada: Customer) -> None:
    file = {"name": "large.bin", "type": "application/octet-stream", "size": 6 * MIB, "fill": 7}
    done = await run_uppy(ada, files=[file])
    assert done["failed"] == []
    assert "/api/storage/signed/" in done["successful"][0]["body"]["location"]
    await query(remote.dsn.superuser, "UPDATE tenant_storage SET allowed_types = '{image/*}'")
    await asyncio.sleep(1)  # what is allowed may be a second old
    refused = await run_uppy(ada, files=[{**file, "name": "a.png", "type": "image/png", "fill": 65}])
    assert (refused["successful"], [failure["name"] for failure in refused["failed"]]) == ([], ["a.png"])
    quota = await ada.quota()
    assert (quota["used"], quota["reserved"]) == (6 * MIB, 0)


@on_s3
@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("allowed", ["text/*", "image/*"])
async def test_blanks_come_until_the_outcome_is_known(remote: Upload, ada: Customer, allowed: str) -> None:
    await query(remote.dsn.superuser, "UPDATE tenant_storage SET allowed_types = $1", [allowed, "image/png"])
    body = {"filename": "a.txt", "type": "image/png", "metadata": META}
    _, made, _ = await ada.call("POST", f"{S3}/multipart", json=body)
    path = f"{S3}/multipart/{made['uploadId']}"
    _, signed, _ = await ada.call("GET", f"{path}/1")
    async with remote.http.put(signed["url"], data=b"x" * 1000) as answer:
        done = {"parts": [{"PartNumber": 1, "ETag": answer.headers["ETag"]}]}
    headers = {"stowage-internal": ada.token}
    async with remote.http.post(f"{remote.url}{path}/complete", json=done, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        first = await answer.content.readany()
        told = first + await answer.content.read()
    assert first == b" "
    assert told.startswith(b"   ")
    if allowed == "text/*":
        assert json.loads(told)["file_id"] == made["uploadId"]
    else:
        assert told.strip() == b"type_not_allowed: Files of type text/plain are not accepted."
        assert await objects(remote) == {}


@on_s3
async def test_without_a_size_two_uploads_share_what_is_left(remote: Upload, ada: Customer) -> None:
    """Space is asked for part by part, and what was held too much is given back at the end."""
    ids = []
    for _ in range(2):
        body = {"filename": "a.bin", "type": "application/octet-stream", "metadata": META}
        status, made, _ = await ada.call("POST", f"{S3}/multipart", json=body)
        assert status == 200
        ids.append(made["uploadId"])
    assert (await ada.quota())["reserved"] == 0
    for upload in ids:
        _, signed, _ = await ada.call("GET", f"{S3}/multipart/{upload}/1")
        async with remote.http.put(signed["url"], data=b"x" * 1000) as answer:
            tag = answer.headers["ETag"]
        done = {"parts": [{"PartNumber": 1, "ETag": tag}]}
        status, _, _ = await ada.call("POST", f"{S3}/multipart/{upload}/complete", json=done)
        assert status == 200
    quota = await ada.quota()
    assert (quota["used"], quota["reserved"]) == (2000, 0)
    status, signed, _ = await ada.call("GET", f"{S3}/multipart/{ids[0]}/batch?partNumbers=1,2")
    assert (status, signed["code"]) == (409, "direct_upload_ended")


@on_s3
async def test_what_uppy_may_not(remote: Upload, ada: Customer) -> None:
    eve = remote.customer()
    body = {"filename": "a.bin", "metadata": {**META, "size": "10"}}
    _, made, _ = await ada.call("POST", f"{S3}/multipart", json=body)
    path = f"{S3}/multipart/{made['uploadId']}"
    await eve.quota()
    for method, end in (("GET", ""), ("GET", "/1"), ("GET", "/batch?partNumbers=1"), ("DELETE", "")):
        assert (await eve.call(method, path + end))[0] == 404
    assert (await eve.call("POST", f"{path}/complete", json={"parts": []}))[0] == 404
    _, signed, _ = await ada.call("GET", f"{path}/batch?partNumbers=1,1")
    assert list(signed["presignedUrls"]) == ["1"]
    for end, code in (
        ("/params?filename=a.bin&type=text/plain&metadata[category]=documents", "size_unknown"),
        ("/params?filename=a.bin&metadata[category]=documents&metadata[size]=x", "invalid_size"),
        ("/params?filename=a.bin", "unknown_category"),
        (f"/multipart/{made['uploadId']}/batch?partNumbers=1,x", "invalid_part_number"),
        (f"/multipart/{made['uploadId']}/10001", "invalid_part_number"),
    ):
        status, refused, _ = await ada.call("GET", S3 + end)
        assert (status, refused["code"]) == (422, code)
    for method in ("GET", "POST"):
        status, refused, _ = await ada.call(method, f"{S3}/sts")
        assert (status, refused["code"]) == (403, "credentials_refused")


async def test_on_another_store_it_says_so(service: Upload) -> None:
    ada = service.customer()
    body = {"filename": "a.bin", "metadata": {**META, "size": 10}}
    status, refused, _ = await ada.call("POST", f"{S3}/multipart", json=body)
    assert (status, refused["code"]) == (501, "backend_unsupported")
    end = "/params?filename=a.bin&metadata[category]=documents&metadata[size]=10"
    status, refused, _ = await ada.call("GET", S3 + end)
    assert (status, refused["code"]) == (501, "backend_unsupported")
    assert (await ada.quota())["reserved"] == 0
