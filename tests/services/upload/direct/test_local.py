"""Direct uploads to the local store, whose URL is our own."""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn
from uuid import uuid4

import pytest

from services.upload.blobs.digest import Digest
from services.upload.blobs.local import LocalStore
from services.upload.blobs.store import StoreUnavailable
from services.upload.direct import repository
from services.upload.direct.completion import Completion
from services.upload.direct.models import DirectUpload
from services.upload.direct.rules import Listed
from shared.events import FileStored
from tests.fixtures.postgres import query
from tests.services.upload.conftest import LIMIT, Upload
from tests.services.upload.direct.clients import OPEN, complete, offer, send, through_the_gateway

CONTENT = b"hello, store " * 100
# Whoever completes is taken for dead.
_LAPSED = "UPDATE direct_upload SET lease = now() - interval '1 second'"


async def test_from_the_offer_to_the_file(service: Upload) -> None:
    ada = service.customer()
    made = await offer(ada, len(CONTENT), folder="a/b", subcategory="leases", metadata={"room": 7})
    assert (made["method"], made["state"], made["parts"]) == ("PUT", "open", None)
    assert (await ada.quota())["reserved"] == len(CONTENT)
    assert await send(service.http, made, CONTENT) == 204
    assert (await ada.call("GET", "/api/storage/files"))[1]["items"] == []
    status, file, _ = await complete(ada, made["upload_id"], sha256=hashlib.sha256(CONTENT).hexdigest())
    assert status == 200, file
    assert file["file_id"] == made["upload_id"]
    assert (file["file_size"], file["content_type"], file["folder"]) == (len(CONTENT), "text/plain", "a/b")
    assert file["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert file["metadata"] == {"room": 7}
    assert (file["quota"]["used"], file["quota"]["reserved"]) == (len(CONTENT), 0)
    _, read, _ = await ada.call("GET", f"/api/storage/files/{file['file_id']}/content")
    assert read == CONTENT
    assert [p.relative_to(service.root / "blobs").as_posix() for p in service.blobs()] == [file["file_path"]]
    entries = await service.ledger(ada.tenant)
    assert [(e["action"], e["delta"]) for e in entries] == [("upload", len(CONTENT))]
    _, state, _ = await ada.call("GET", f"{OPEN}/{made['upload_id']}")
    assert (state["state"], state["file_id"]) == ("stored", file["file_id"])


async def test_refused_before_anything_exists(service: Upload) -> None:
    ada = service.customer()
    say = {"file_name": "a.txt", "file_size": LIMIT + 1, "category": "documents"}
    for changes, status, code in (
        ({}, 413, "quota_exceeded"),
        ({"file_size": 2**60}, 413, "file_too_large"),
        ({"file_size": 1, "category": "nowhere"}, 422, "unknown_category"),
        ({"file_size": 1, "file_name": "../x"}, 422, "invalid_file_name"),
        ({"file_size": 1, "sha256": "zz"}, 422, "invalid_sha256"),
        ({"file_size": 1, "content_type": "text/plain\r\nx: y"}, 422, "invalid_content_type"),
        ({"file_size": 1, "metadata": {"a": "\x00"}}, 422, "invalid_metadata"),
        ({"file_size": 1, "multipart": True}, 501, "backend_unsupported"),
    ):
        got, refused, _ = await ada.call("POST", OPEN, json={**say, **changes})
        assert (got, refused["code"]) == (status, code)
    assert (await ada.quota())["reserved"] == 0
    assert await query(service.dsn.superuser, "SELECT 1 FROM direct_upload") == []


async def test_one_byte_too_many_is_refused_on_the_way(service: Upload) -> None:
    ada = service.customer()
    made = await offer(ada, 1000)
    assert await send(service.http, made, b"x" * 1001) == 422

    async def endless() -> object:
        for _ in range(100):
            yield b"x" * 100

    async with service.http.put(made["url"], data=endless(), headers=through_the_gateway()) as answer:
        assert answer.status == 422
        assert (await answer.json())["code"] == "size_mismatch"
    assert service.blobs() == []
    status, refused, _ = await complete(ada, made["upload_id"])
    assert (status, refused["code"]) == (409, "not_uploaded")
    assert await send(service.http, made, b"x" * 1000) == 204
    assert (await complete(ada, made["upload_id"]))[0] == 200


async def test_less_than_announced_counts_what_came(service: Upload) -> None:
    ada = service.customer()
    made = await offer(ada, LIMIT)
    assert await send(service.http, made, b"x" * 10) == 204
    _, file, _ = await complete(ada, made["upload_id"])
    assert (file["quota"]["used"], file["quota"]["reserved"]) == (10, 0)


async def test_completed_often_and_written_afterwards_it_stays_one_file(service: Upload) -> None:
    ada = service.customer()
    made = await offer(ada, 1000)
    await send(service.http, made, b"a" * 900)
    await send(service.http, made, b"b" * 1000)  # what is sent again replaces
    answers = await asyncio.gather(*(complete(ada, made["upload_id"]) for _ in range(8)))
    assert {status for status, _, _ in answers} == {200}
    assert {file["sha256"] for _, file, _ in answers} == {hashlib.sha256(b"b" * 1000).hexdigest()}
    assert await send(service.http, made, b"c" * 1000) == 409
    assert (await complete(ada, made["upload_id"]))[0] == 200
    assert (await ada.quota())["used"] == 1000
    assert len(service.blobs()) == 1
    assert len(await service.ledger(ada.tenant)) == 1
    assert (await ada.call("DELETE", f"{OPEN}/{made['upload_id']}"))[1]["code"] == "direct_upload_ended"


async def test_the_content_decides(service: Upload) -> None:
    ada = service.customer()
    wrong = hashlib.sha256(b"other").hexdigest()
    for said, later in (({"sha256": wrong}, {}), ({}, {"sha256": wrong})):
        made = await offer(ada, 100, **said)
        await send(service.http, made, b"x" * 100)
        for _ in range(2):  # the answer stays the same
            status, refused, _ = await complete(ada, made["upload_id"], **later)
            assert (status, refused["code"]) == (422, "digest_mismatch")
        assert (await ada.call("GET", f"{OPEN}/{made['upload_id']}"))[1]["problem"]["code"] == "digest_mismatch"
    assert service.blobs() == []
    assert (await ada.quota())["reserved"] == 0


async def test_types_the_plan_does_not_allow(service: Upload) -> None:
    ada = service.customer()
    await ada.quota()
    await query(service.dsn.superuser, "UPDATE tenant_storage SET allowed_types = '{image/*}'")
    say = {"file_name": "a.txt", "file_size": 5, "category": "documents", "content_type": "text/plain"}
    status, refused, _ = await ada.call("POST", OPEN, json=say)
    assert (status, refused["code"]) == (415, "type_not_allowed")
    made = await offer(ada, 5, content_type="image/png")  # a lie
    await send(service.http, made, b"hello")
    status, refused, _ = await complete(ada, made["upload_id"])
    assert (status, refused["code"]) == (415, "type_not_allowed")
    assert service.blobs() == []
    assert (await ada.quota())["reserved"] == 0


async def test_aborted(service: Upload) -> None:
    ada = service.customer()
    made = await offer(ada, 1000)
    await send(service.http, made, b"a" * 900)
    for _ in range(2):
        assert (await ada.call("DELETE", f"{OPEN}/{made['upload_id']}"))[0] == 204
    assert (await ada.quota())["reserved"] == 0
    assert service.blobs() == []
    assert (await complete(ada, made["upload_id"]))[1]["code"] == "direct_upload_ended"
    assert await send(service.http, made, b"a" * 900) == 409


async def test_the_signature_is_the_permission(service: Upload) -> None:
    ada = service.customer()
    made = await offer(ada, 10)
    url = made["url"]
    for altered in (
        url.replace("size=10", "size=11"),
        url.replace(made["upload_id"], str(uuid4())),
        url.replace(str(ada.tenant), str(uuid4())),
        url[:-1] + ("A" if url[-1] != "A" else "B"),
    ):
        async with service.http.put(altered, data=b"x" * 10, headers=through_the_gateway()) as answer:
            assert (answer.status, (await answer.json())["code"]) == (403, "link_invalid")
    made = await offer(ada, 10, expires_in=5)
    until = int(made["url"].split("expires=")[1].split("&")[0])
    from shared.security import signatures

    stale = signatures.make("k" * 40, "write", ada.tenant, made["upload_id"], 10, until - 100)
    url = made["url"].replace(str(until), str(until - 100)).split("&sig=")[0] + f"&sig={stale}"
    async with service.http.put(url, data=b"x" * 10, headers=through_the_gateway()) as answer:
        assert (answer.status, (await answer.json())["code"]) == (403, "link_expired")


async def test_a_strangers_ids_do_not_exist(service: Upload) -> None:
    ada, eve = service.customer(), service.customer()
    made = await offer(ada, 10)
    await eve.quota()
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/parts"),
        ("POST", "/parts"),
        ("POST", "/complete"),
    ):
        body = {"json": {"numbers": [1]}} if path == "/parts" and method == "POST" else {}
        status, refused, _ = await eve.call(method, f"{OPEN}/{made['upload_id']}{path}", **body)
        assert (status, refused["code"]) == (404, "direct_upload_not_found"), (method, path)
    assert (await ada.call("GET", f"{OPEN}/{made['upload_id']}"))[1]["state"] == "open"


async def test_many_at_once_fill_the_quota_exactly(service: Upload) -> None:
    ada = service.customer()
    await ada.quota()
    size, count = LIMIT // 20, 40

    async def run() -> int:
        say = {"file_name": "a.txt", "file_size": size, "category": "documents"}
        status, made, _ = await ada.call("POST", OPEN, json=say)
        if status != 201:
            assert made["code"] == "quota_exceeded"
            return 0
        assert await send(service.http, made, b"x" * size) == 204
        answers = await asyncio.gather(*(complete(ada, made["upload_id"]) for _ in range(2)))
        assert [a[0] for a in answers] == [200, 200]
        return size

    stored = await asyncio.gather(*(run() for _ in range(count)))
    assert sum(stored) == LIMIT
    account = await service.account(ada.tenant)
    assert (account["used"], account["reserved"], account["files"]) == (LIMIT, 0, 20)
    assert sum(path.stat().st_size for path in service.blobs()) == LIMIT


async def test_a_completion_that_died_is_taken_over(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = service.customer()
    made = await offer(ada, 100)
    await send(service.http, made, b"x" * 100)
    sql = "UPDATE direct_upload SET state = 'completing', attempt = 1, lease = now() + interval '{}' WHERE id = $1"
    await query(service.dsn.superuser, sql.format("1 minute"), made["upload_id"])
    monkeypatch.setattr("services.upload.direct.service.PATIENCE", 0.3)
    status, state, headers = await complete(ada, made["upload_id"])
    assert (status, state["state"], headers["retry-after"]) == (202, "completing", "2")
    await query(service.dsn.superuser, sql.format("-1 second"), made["upload_id"])
    status, file, _ = await complete(ada, made["upload_id"])
    assert status == 200
    assert file["file_path"].endswith(f"{made['upload_id']}.2.txt")  # not over what the first one may still write
    assert timedelta(minutes=5) > repository.LEASE


async def test_who_was_taken_for_dead_hears_of_the_file(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else has stored it meanwhile, and cleared away what was sent."""
    ada = service.customer()
    made = await offer(ada, 100)
    await send(service.http, made, b"x" * 100)
    begun, goes_on, arrive = asyncio.Event(), asyncio.Event(), Completion._arrive

    async def slow(self: Completion, upload: DirectUpload, listed: Sequence[Listed] | None) -> None:
        if upload.attempt == 1:
            begun.set()
            await goes_on.wait()
        await arrive(self, upload, listed)

    monkeypatch.setattr(Completion, "_arrive", slow)
    first = asyncio.create_task(complete(ada, made["upload_id"]))
    await begun.wait()
    await query(service.dsn.superuser, _LAPSED)
    status, file, _ = await complete(ada, made["upload_id"])
    assert status == 200
    goes_on.set()
    status, again, _ = await first
    assert (status, again["file_path"]) == (200, file["file_path"]), again
    assert (await service.account(ada.tenant))["used"] == 100


async def test_who_took_over_hears_of_the_file_of_the_one_it_took_for_dead(
    service: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which stored it all the same, and cleared away what was sent."""
    ada = service.customer()
    made = await offer(ada, 100)
    await send(service.http, made, b"x" * 100)
    judged, goes_on, cleared = asyncio.Event(), asyncio.Event(), asyncio.Event()
    arrive, judge, unstage = Completion._arrive, Completion._judge, Completion._unstage

    async def slow(self: Completion, upload: DirectUpload, path: str, digest: Digest) -> FileStored:
        file = await judge(self, upload, path, digest)
        if upload.attempt == 1:
            judged.set()
            await goes_on.wait()
        return file

    async def late(self: Completion, upload: DirectUpload, listed: Sequence[Listed] | None) -> None:
        if upload.attempt == 2:
            await cleared.wait()
        await arrive(self, upload, listed)

    async def clear(self: Completion, upload: DirectUpload) -> None:
        await unstage(self, upload)
        cleared.set()

    monkeypatch.setattr(Completion, "_judge", slow)
    monkeypatch.setattr(Completion, "_arrive", late)
    monkeypatch.setattr(Completion, "_unstage", clear)
    first = asyncio.create_task(complete(ada, made["upload_id"]))
    await judged.wait()
    await query(service.dsn.superuser, _LAPSED)
    second = asyncio.create_task(complete(ada, made["upload_id"]))
    while (await query(service.dsn.superuser, "SELECT attempt FROM direct_upload"))[0]["attempt"] < 2:
        await asyncio.sleep(0.01)
    goes_on.set()
    answers = await asyncio.gather(first, second)
    assert [status for status, _, _ in answers] == [200, 200], answers
    assert (await service.account(ada.tenant))["used"] == 100
    assert [path.stat().st_size for path in service.blobs()] == [100]


async def test_a_refusal_is_heard_though_its_process_died_while_it_cleared_away(
    service: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = service.customer()
    made = await offer(ada, 100)
    await send(service.http, made, b"x" * 100)
    discard = Completion.discard

    async def die(self: Completion, upload: DirectUpload) -> NoReturn:
        await discard(self, upload)
        raise asyncio.CancelledError

    monkeypatch.setattr(Completion, "discard", die)
    monkeypatch.setattr("services.upload.direct.service.PATIENCE", 0.3)
    wrong = "0" * 64
    await complete(ada, made["upload_id"], sha256=wrong)
    await query(service.dsn.superuser, _LAPSED)
    status, refused, _ = await complete(ada, made["upload_id"], sha256=wrong)
    assert (status, refused["code"]) == (422, "digest_mismatch")
    account = await service.account(ada.tenant)
    assert (account["used"], account["reserved"], service.blobs()) == (0, 0, [])


async def test_what_an_attempt_taken_for_dead_finds_wrong_is_not_its_to_clear_away(
    service: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = service.customer()
    made = await offer(ada, 100)
    await send(service.http, made, b"x" * 100)
    failed, goes_on = asyncio.Event(), asyncio.Event()
    drop, arrive = Completion._drop_copy, Completion._arrive

    async def slow(self: Completion, upload: DirectUpload) -> None:
        await drop(self, upload)
        failed.set()
        await goes_on.wait()

    async def late(self: Completion, upload: DirectUpload, listed: Sequence[Listed] | None) -> None:
        if upload.attempt == 2:
            goes_on.set()
            await asyncio.sleep(0.5)
        await arrive(self, upload, listed)

    monkeypatch.setattr(Completion, "_drop_copy", slow)
    monkeypatch.setattr(Completion, "_arrive", late)
    first = asyncio.create_task(complete(ada, made["upload_id"], sha256="0" * 64))
    await failed.wait()
    await query(service.dsn.superuser, _LAPSED)
    answers = await asyncio.gather(first, complete(ada, made["upload_id"]))
    assert [status for status, _, _ in answers] == [200, 200], answers
    assert [path.stat().st_size for path in service.blobs()] == [100]


async def test_an_attempt_that_fails_leaves_no_copy(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = service.customer()
    made = await offer(ada, 100)
    await send(service.http, made, b"x" * 100)
    staged = service.blobs()

    def fail(*_: object) -> NoReturn:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "read", fail)
        for _ in range(2):
            assert (await complete(ada, made["upload_id"]))[1]["code"] == "store_unavailable"
    assert service.blobs() == staged
    assert (await ada.call("GET", f"{OPEN}/{made['upload_id']}"))[1]["state"] == "open"
    assert (await complete(ada, made["upload_id"]))[0] == 200
    assert len(service.blobs()) == 1


async def test_of_a_team_that_was_deleted_nothing_is_kept(service: Upload) -> None:
    ada = service.customer()
    made = await offer(ada, 100)
    await send(service.http, made, b"x" * 100)
    await query(service.dsn.superuser, "UPDATE tenant_storage SET deleted_at = now()")
    service.app.state.services.intake._entitlements._terms.clear()
    assert (await complete(ada, made["upload_id"]))[1]["code"] == "tenant_deleted"
    assert (await ada.call("GET", f"{OPEN}/{made['upload_id']}"))[1]["state"] == "refused"
    assert service.blobs() == []
    assert (await service.account(ada.tenant))["reserved"] == 0
