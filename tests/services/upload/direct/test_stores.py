"""Direct uploads to every kind of store, over the wire, by a client that only does what the offer says."""

import asyncio
import hashlib
import io
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from services.upload.blobs.digest import Digest
from services.upload.blobs.locations import DEFAULT
from tests.fixtures.postgres import query
from tests.services.upload.conftest import LIMIT, Upload
from tests.services.upload.direct.clients import OPEN, complete, offer, send
from tests.services.upload.direct.conftest import cleanup_of, objects

S3 = pytest.param("s3", marks=pytest.mark.parts("s3_program"))
AZURE = pytest.param("azure", marks=pytest.mark.parts("azurite"))
GCS = pytest.param("gcs", marks=pytest.mark.parts("fake_gcs"))

every = pytest.mark.parametrize("remote", [S3, AZURE, GCS], indirect=True)
in_parts = pytest.mark.parametrize("remote", [S3, AZURE], indirect=True)
on_s3 = pytest.mark.parametrize("remote", [S3], indirect=True)

PART = 5 * 1024 * 1024
_DIED = "UPDATE direct_upload SET state = 'completing', attempt = 1, lease = now() - interval '1 second'"


async def is_clean(remote: Upload, account: Any) -> None:
    assert await objects(remote) == {}
    quota = await account.quota()
    assert (quota["used"], quota["reserved"]) == (0, 0)


@every
@pytest.mark.parametrize("multipart", [False, True])
async def test_from_the_offer_to_the_file(remote: Upload, multipart: bool) -> None:
    ada, content = remote.customer(), b"hello, store " * 1000
    made = await offer(ada, len(content), multipart=multipart)
    assert (await ada.quota())["reserved"] == len(content)
    assert await send(remote.http, made, content) in {200, 201, 204}
    status, file, _ = await complete(ada, made["upload_id"])
    assert status == 200, file
    assert (file["sha256"], file["file_size"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert await objects(remote) == {file["file_path"]: len(content)}
    _, read, _ = await ada.call("GET", f"/api/storage/files/{file['file_id']}/content")
    assert read == content
    assert (file["quota"]["used"], file["quota"]["reserved"]) == (len(content), 0)
    status, again, _ = await complete(ada, made["upload_id"])
    assert (status, again["file_id"]) == (200, file["file_id"])
    assert len(await remote.ledger(ada.tenant)) == 1


@every
async def test_one_byte_too_many_is_never_kept(remote: Upload) -> None:
    ada = remote.customer()
    made = await offer(ada, 1000)
    status = await send(remote.http, made, b"x" * 1001)
    if made["kind"] == "form":
        assert status == 400  # the store itself refuses
    status, refused, _ = await complete(ada, made["upload_id"])
    assert (status, refused["code"]) in {(409, "not_uploaded"), (422, "size_mismatch")}
    await ada.call("DELETE", f"{OPEN}/{made['upload_id']}")
    await is_clean(remote, ada)


@every
async def test_less_than_announced_counts_what_came(remote: Upload) -> None:
    ada = remote.customer()
    made = await offer(ada, LIMIT)
    await send(remote.http, made, b"x" * 10)
    _, file, _ = await complete(ada, made["upload_id"])
    assert (file["quota"]["used"], file["quota"]["reserved"]) == (10, 0)


@every
async def test_never_sent(remote: Upload) -> None:
    ada = remote.customer()
    for multipart in (False, True):
        made = await offer(ada, 1000, multipart=multipart)
        status, refused, _ = await complete(ada, made["upload_id"])
        assert (status, refused["code"]) == (409, "not_uploaded")
        assert (await ada.call("DELETE", f"{OPEN}/{made['upload_id']}"))[0] == 204
    await is_clean(remote, ada)


@every
async def test_what_comes_after_the_end_changes_nothing(remote: Upload) -> None:
    ada = remote.customer()
    made = await offer(ada, 1000)
    await send(remote.http, made, b"a" * 1000)
    answers = await asyncio.gather(*(complete(ada, made["upload_id"]) for _ in range(6)))
    assert {status for status, _, _ in answers} == {200}
    await send(remote.http, made, b"b" * 1000)  # a PUT or form whose URL is still good
    assert (await complete(ada, made["upload_id"]))[1]["sha256"] == hashlib.sha256(b"a" * 1000).hexdigest()
    path = answers[0][1]["file_path"]
    _, read, _ = await ada.call("GET", f"/api/storage/files/{made['upload_id']}/content")
    assert read == b"a" * 1000
    assert (await ada.quota())["used"] == 1000
    await query(remote.dsn.superuser, "UPDATE direct_upload SET expires_at = now() - interval '1 hour'")
    async with cleanup_of(remote) as cleanup:
        await cleanup.remove_expired()
    assert await objects(remote) == {path: 1000}
    assert (await complete(ada, made["upload_id"]))[1]["file_id"] == made["upload_id"]


@every
@pytest.mark.parametrize("multipart", [False, True])
async def test_expired(remote: Upload, multipart: bool) -> None:
    ada = remote.customer()
    made = await offer(ada, 1000, multipart=multipart)
    await send(remote.http, made, b"x" * 1000)
    await query(remote.dsn.superuser, "UPDATE direct_upload SET expires_at = now() - interval '1 hour'")
    await query(remote.dsn.superuser, "UPDATE reservation SET expires_at = now() - interval '1 hour'")
    async with cleanup_of(remote) as cleanup:
        await cleanup.remove_expired()
    assert await objects(remote) == {}
    status, refused, _ = await complete(ada, made["upload_id"])
    assert (status, refused["code"]) == (404, "direct_upload_not_found")
    status = (await ada.upload(b"x" * LIMIT))[0]
    assert status == 201  # its space is anybody's


@in_parts
async def test_parts_listed_missing_and_too_many(remote: Upload) -> None:
    ada = remote.customer()
    await query(remote.dsn.superuser, "SELECT 1")
    await ada.quota()
    await query(remote.dsn.superuser, "UPDATE tenant_storage SET limit_bytes = 20000000")
    made = await offer(ada, PART + 10, multipart=True)
    path = f"{OPEN}/{made['upload_id']}"
    status, refused, _ = await ada.call("POST", f"{path}/parts", json={"numbers": [4]})
    assert (status, refused["code"]) == (422, "invalid_part_number")
    _, signed, _ = await ada.call("POST", f"{path}/parts", json={"numbers": [1, 2]})
    urls = {part["number"]: part["url"] for part in signed["items"]}
    await _put(remote.http, urls[1], b"a" * PART)
    _, arrived, _ = await ada.call("GET", f"{path}/parts")
    assert [(part["number"], part["size"]) for part in arrived["items"]] == [(1, PART)]
    listed = [{"number": 1, "etag": arrived["items"][0]["etag"]}, {"number": 2}]
    status, refused, _ = await complete(ada, made["upload_id"], parts=listed)
    assert (status, refused["code"], refused["parts"]) == (409, "parts_missing", [2])
    await _put(remote.http, urls[2], b"b" * 10)
    status, file, _ = await complete(ada, made["upload_id"], parts=listed)
    assert (status, file["file_size"]) == (200, PART + 10)
    assert file["sha256"] == hashlib.sha256(b"a" * PART + b"b" * 10).hexdigest()
    # Nobody writes to the file by a URL that is still good.
    await _put(remote.http, urls[2], b"c" * 10)
    _, read, _ = await ada.call("GET", f"/api/storage/files/{file['file_id']}/content")
    assert hashlib.sha256(read).hexdigest() == file["sha256"]


@in_parts
async def test_parts_of_a_liar_are_refused_before_they_are_anything(remote: Upload) -> None:
    ada = remote.customer()
    made = await offer(ada, 1000, multipart=True)
    await _put(remote.http, made["parts"][0]["url"], b"x" * 5000)
    for _ in range(2):
        status, refused, _ = await complete(ada, made["upload_id"])
        assert (status, refused["code"], refused["found"]) == (422, "size_mismatch", 5000)
    await is_clean(remote, ada)


@every
async def test_many_at_once_fill_the_quota_exactly(remote: Upload) -> None:
    ada = remote.customer()
    await ada.quota()
    size = LIMIT // 10

    async def run(number: int) -> int:
        say = {"file_name": "a.txt", "file_size": size, "category": "documents", "multipart": number % 2 == 0}
        status, made, _ = await ada.call("POST", OPEN, json=say)
        if status != 201:
            assert made["code"] == "quota_exceeded"
            return 0
        await send(remote.http, made, b"x" * size)
        answers = await asyncio.gather(*(complete(ada, made["upload_id"]) for _ in range(2)))
        assert [status for status, _, _ in answers] == [200, 200]
        return size

    assert sum(await asyncio.gather(*(run(number) for number in range(20)))) == LIMIT
    account = await remote.account(ada.tenant)
    assert (account["used"], account["reserved"], account["files"]) == (LIMIT, 0, 10)
    assert sum((await objects(remote)).values()) == LIMIT


@on_s3
async def test_parts_that_the_store_is_still_putting_together_are_waited_for(remote: Upload) -> None:
    """The completion that told it to has died. Until the store is done it knows neither the parts nor the object."""
    ada, content = remote.customer(), b"x" * 1000
    made = await offer(ada, len(content), multipart=True)
    await query(remote.dsn.superuser, _DIED)
    staged = await _lose_parts(remote)
    completed = asyncio.create_task(complete(ada, made["upload_id"]))
    await asyncio.sleep(1.5)
    assert not completed.done()
    writer = remote.app.state.services.direct.receiver._locations[DEFAULT].create(uuid4(), Digest())
    await writer.write(content)
    await writer.finish()
    await writer.place(staged)
    status, file, _ = await completed
    assert status == 200, file
    assert (await remote.account(ada.tenant))["used"] == len(content)


@on_s3
async def test_parts_that_the_store_has_lost_are_not_waited_for_for_ever(
    remote: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = remote.customer()
    made = await offer(ada, 1000, multipart=True)
    await _lose_parts(remote)
    monkeypatch.setattr("services.upload.direct.completion.UNSEEN", 0.5)
    for _ in range(2):
        status, refused, _ = await complete(ada, made["upload_id"])
        assert (status, refused["code"]) == (409, "not_uploaded")
    await ada.call("DELETE", f"{OPEN}/{made['upload_id']}")
    await is_clean(remote, ada)


@every
@pytest.mark.parametrize("multipart", [False, True])
async def test_what_is_stored_stays_whatever_is_said_of_it_then(remote: Upload, multipart: bool) -> None:
    """The one who stored it died before that was noted; who asks again gives it up, or says what would refuse it."""
    ada = remote.customer()
    made = await offer(ada, 1000, multipart=multipart)
    await send(remote.http, made, b"x" * 1000)
    file = (await complete(ada, made["upload_id"]))[1]
    await query(remote.dsn.superuser, _DIED)
    status, refused, _ = await ada.call("DELETE", f"{OPEN}/{made['upload_id']}")
    assert (status, refused["code"]) == (409, "direct_upload_ended"), refused
    status, again, _ = await complete(ada, made["upload_id"], sha256="0" * 64)
    assert (status, again["file_id"]) == (200, file["file_id"])
    assert await objects(remote) == {file["file_path"]: 1000}
    assert (await ada.quota())["used"] == 1000


async def _put(http: aiohttp.ClientSession, url: str, content: bytes) -> int:
    async with http.put(url, data=io.BytesIO(content)) as answer:
        return answer.status


async def _lose_parts(remote: Upload) -> str:
    """Where the object would be."""
    direct = remote.app.state.services.direct
    row = (await query(remote.dsn.superuser, "SELECT id, tenant_id FROM direct_upload"))[0]
    upload = await direct.uploads.get(row["tenant_id"], row["id"])
    await direct.offers[DEFAULT].abort(upload)
    return str(upload.staged)
