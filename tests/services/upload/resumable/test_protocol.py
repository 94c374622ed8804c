"""tus 1.0 word for word, over real HTTP."""

import hashlib
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.services.upload.conftest import LIMIT, Billing, Upload
from tests.services.upload.resumable.conftest import BYTES, PATH, Tus, metadata

DATA = bytes(range(256)) * 1000  # 256,000 bytes
DIGESTS = {
    "sha1": hashlib.sha1(DATA, usedforsecurity=False).digest(),
    "sha256": hashlib.sha256(DATA).digest(),
    "md5": hashlib.md5(DATA, usedforsecurity=False).digest(),
    "crc32": zlib.crc32(DATA).to_bytes(4, "big"),
}


async def chunked(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_abilities_are_told_to_anybody_who_asks(tus: Tus) -> None:
    for path in (PATH, f"{PATH}/3f2b1c9a-0000-7000-8000-000000000000"):
        status, body, headers = await tus.who.call("OPTIONS", path)
        assert (status, body) == (204, b"")
        assert headers["tus-resumable"] == headers["tus-version"] == "1.0.0"
        assert set(headers["tus-checksum-algorithm"].split(",")) == set(DIGESTS)
        assert int(headers["tus-max-size"]) > 10**12
        assert {
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "termination",
            "checksum",
            "expiration",
        } < set(headers["tus-extension"].split(","))


async def test_an_upload_in_three_pieces(tus: Tus, service: Upload) -> None:
    created = await tus.create(len(DATA))
    assert created.status == 201
    assert created.headers["location"] == f"{service.settings.base_url}{PATH}/{created.id}"
    assert created.headers["upload-expires"].endswith("GMT")
    assert await tus.held() == len(DATA)
    upload = created.id
    for start, end in ((0, 100_000), (100_000, 200_000)):
        answer = await tus.patch(upload, start, DATA[start:end])
        assert (answer.status, answer.offset, answer.body) == (204, end, b"")
        head = await tus.head(upload)
        assert (head.status, head.offset) == (200, end)
        assert head.headers["upload-length"] == str(len(DATA))
        assert head.headers["upload-metadata"] == metadata()
        assert head.headers["cache-control"] == "no-store"
        assert "x-file-id" not in head.headers
    done = await tus.patch(upload, 200_000, DATA[200_000:])
    assert (done.status, done.offset, done.headers["x-file-id"]) == (204, len(DATA), upload)
    assert await tus.content(upload) == DATA
    _, file, _ = await tus.who.call("GET", f"/api/storage/files/{upload}")
    assert file["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert (file["file_name"], file["category"], file["uploaded_by"]) == ("note.txt", "documents", str(tus.who.user))
    account = await service.account(tus.who.tenant)
    assert (account["used"], account["reserved"], account["files"]) == (len(DATA), 0, 1)
    assert len(service.blobs()) == 1


async def test_a_finished_upload_says_so_and_its_repetition_is_harmless(tus: Tus) -> None:
    upload = await tus.begun(6)
    assert (await tus.patch(upload, 0, b"abcdef")).status == 204
    head = await tus.head(upload)
    assert (head.status, head.offset, head.headers["x-file-id"]) == (200, 6, upload)
    assert head.headers["upload-metadata"] == metadata()
    again = await tus.patch(upload, 0, b"abcdef")
    assert (again.status, again.code, again.offset) == (409, "wrong_offset", 6)
    nothing = await tus.patch(upload, 6, b"")
    assert (nothing.status, nothing.headers["x-file-id"]) == (204, upload)
    assert (await tus.patch(upload, 6, b"x")).code == "too_much_data"
    gone = await tus.delete(upload)
    assert (gone.status, gone.code) == (400, "upload_finished")
    assert await tus.content(upload) == b"abcdef"


async def test_whole_in_one_request_leaves_no_row(tus: Tus, service: Upload) -> None:
    answer = await tus.create(len(DATA), DATA)
    assert (answer.status, answer.offset, answer.headers["x-file-id"]) == (201, len(DATA), answer.id)
    assert await tus.rows() == []
    assert await tus.content(answer.id) == DATA
    head = await tus.head(answer.id)
    assert (head.offset, head.headers["x-file-id"]) == (len(DATA), answer.id)
    assert (await tus.patch(answer.id, len(DATA), b"")).status == 204
    account = await service.account(tus.who.tenant)
    assert (account["used"], account["reserved"]) == (len(DATA), 0)


async def test_the_first_bytes_with_the_creation(tus: Tus) -> None:
    answer = await tus.create(len(DATA), DATA[:70_000])
    assert (answer.status, answer.offset) == (201, 70_000)
    assert "x-file-id" not in answer.headers
    assert (await tus.patch(answer.id, 70_000, DATA[70_000:])).status == 204
    assert await tus.content(answer.id) == DATA


async def test_an_empty_file(tus: Tus) -> None:
    answer = await tus.create(0)
    assert (answer.status, answer.offset) == (201, 0)
    assert await tus.content(answer.headers["x-file-id"]) == b""


@pytest.mark.parametrize("with_bytes", [True, False])
async def test_the_length_may_be_said_last(tus: Tus, service: Upload, with_bytes: bool) -> None:
    upload = await tus.begun(None)
    assert (await tus.head(upload)).headers["upload-defer-length"] == "1"
    assert (await tus.patch(upload, 0, DATA[:100_000])).offset == 100_000
    assert await tus.held() == 100_000
    rest, end = (DATA[100_000:], len(DATA)) if with_bytes else (b"", 100_000)
    done = await tus.patch(upload, 100_000, rest, Upload_Length=str(end))
    assert (done.status, done.headers["x-file-id"]) == (204, upload)
    assert await tus.content(upload) == DATA[:end]
    assert (await service.account(tus.who.tenant))["used"] == end


async def test_without_a_length_it_stops_at_the_limit_and_goes_on_when_there_is_room(tus: Tus, service: Upload) -> None:
    full = (await tus.create(LIMIT - 200_000, b"x" * (LIMIT - 200_000))).id
    upload = await tus.begun(None)
    assert (await tus.patch(upload, 0, DATA[:150_000])).status == 204
    refused = await tus.patch(upload, 150_000, DATA[150_000:])
    assert (refused.status, refused.code) == (413, "quota_exceeded")
    assert refused.body["quota_info"]["available"] == 50_000
    assert (await tus.head(upload)).offset == 150_000
    # Sent without a length of its own, what still fits is taken.
    refused = await tus.patch(upload, 150_000, chunked(DATA[150_000:190_000], DATA[190_000:]))
    assert refused.code == "quota_exceeded"
    offset = (await tus.head(upload)).offset
    assert 150_000 <= offset <= 200_000
    assert (await service.account(tus.who.tenant))["reserved"] <= 200_000
    await tus.who.call("DELETE", f"/api/storage/files/{full}")
    done = await tus.patch(upload, offset, DATA[offset:], Upload_Length=str(len(DATA)))
    assert done.status == 204
    assert await tus.content(upload) == DATA


@pytest.mark.parametrize("algorithm", DIGESTS)
async def test_checksums(tus: Tus, service: Upload, algorithm: str) -> None:
    upload = await tus.begun(2 * len(DATA))
    good = f"{algorithm} {b64encode(DIGESTS[algorithm]).decode()}"
    assert (await tus.patch(upload, 0, DATA, Upload_Checksum=good)).status == 204
    wrong = await tus.patch(upload, len(DATA), DATA[::-1], Upload_Checksum=good)
    assert (wrong.status, wrong.code) == (460, "checksum_mismatch")
    assert (await tus.head(upload)).offset == len(DATA)
    assert (await tus.patch(upload, len(DATA), DATA, Upload_Checksum=good)).status == 204
    assert await tus.content(upload) == DATA * 2
    _, file, _ = await tus.who.call("GET", f"/api/storage/files/{upload}")
    assert file["sha256"] == hashlib.sha256(DATA * 2).hexdigest()
    refused = await tus.create(len(DATA), DATA[::-1], Upload_Checksum=good)
    assert refused.status == 460
    account = await service.account(tus.who.tenant)
    assert (account["used"], account["reserved"]) == (2 * len(DATA), 0)
    assert len(service.blobs()) == 1


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ("crc64 AAAA", 400, "unknown_checksum_algorithm"),
        ("sha1 AAAA", 400, "invalid_checksum"),
        ("sha1 !!!", 400, "invalid_checksum"),
    ],
)
async def test_checksums_that_are_none(tus: Tus, said: str, status: int, code: str) -> None:
    upload = await tus.begun(3)
    answer = await tus.patch(upload, 0, b"abc", Upload_Checksum=said)
    assert (answer.status, answer.code) == (status, code)
    assert (await tus.head(upload)).offset == 0


async def test_termination(tus: Tus, service: Upload) -> None:
    upload = await tus.begun(len(DATA))
    await tus.patch(upload, 0, DATA[:1000])
    assert len(service.blobs()) == 1
    assert (await tus.delete(upload)).status == 204
    assert service.blobs() == []
    assert await tus.held() == 0
    assert (await tus.head(upload)).status == 404
    assert (await tus.patch(upload, 1000, b"x")).code == "upload_not_found"
    assert (await tus.delete(upload)).code == "upload_not_found"


async def test_methods_for_clients_that_can_only_post(tus: Tus) -> None:
    upload = await tus.begun(6)
    address = f"{PATH}/{upload}"
    override: dict[str, Any] = {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH", **BYTES}
    assert (await tus.call("POST", address, data=b"abc", **override)).offset == 3
    assert (await tus.call("POST", address, X_HTTP_Method_Override="HEAD")).offset == 3
    assert (await tus.call("POST", address, X_HTTP_Method_Override="DELETE")).status == 204
    assert (await tus.call("POST", address)).code == "method_not_allowed"


REFUSED: list[tuple[dict[str, str], int, str]] = [
    ({"Tus-Resumable": "0.2.2"}, 412, "version_unsupported"),
    ({"Upload-Length": "-1"}, 400, "invalid_upload_length"),
    ({"Upload-Length": "1e3"}, 400, "invalid_upload_length"),
    ({"Upload-Length": "9" * 30}, 400, "invalid_upload_length"),
    ({"Upload-Length": ""}, 400, "invalid_upload_length"),
    ({"Upload-Defer-Length": "1"}, 400, "invalid_upload_length"),
    ({"Upload-Length": str(10 * 1024**4)}, 413, "file_too_large"),
    ({"Upload-Length": str(10 * 1024**3)}, 413, "quota_exceeded"),
    ({"Upload-Length": str(LIMIT + 1)}, 413, "quota_exceeded"),
    ({"Upload-Metadata": metadata(category="nowhere")}, 422, "unknown_category"),
    ({"Upload-Metadata": metadata(filename="../etc/passwd")}, 422, "invalid_file_name"),
    ({"Upload-Metadata": metadata(filename="a\x00b")}, 422, "invalid_file_name"),
    ({"Upload-Metadata": metadata(metadata="[1]")}, 422, "invalid_metadata"),
    ({"Upload-Metadata": metadata(entity_id="a/b")}, 422, "invalid_entity_id"),
    ({"Upload-Metadata": metadata(project_id="1")}, 422, "invalid_project_id"),
    ({"Upload-Metadata": ""}, 422, "invalid_file_name"),
    ({"Upload-Metadata": "filename not-base64!"}, 400, "invalid_upload_metadata"),
    ({"Upload-Metadata": "filename /w=="}, 400, "invalid_upload_metadata"),
    ({"Upload-Metadata": "filename YQ==,filename YQ=="}, 400, "invalid_upload_metadata"),
    ({"Upload-Concat": "half"}, 400, "invalid_concat"),
    ({"Upload-Concat": "final;"}, 400, "invalid_concat"),
    ({"Upload-Concat": f"final;{PATH}/{'g' * 36}"}, 400, "invalid_concat"),
]


@pytest.mark.parametrize(("said", "status", "code"), REFUSED, ids=lambda value: str(value)[:60])
async def test_creations_refused_before_a_byte(
    tus: Tus, service: Upload, said: dict[str, str], status: int, code: str
) -> None:
    answer = await tus.create(10, **said)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 412:
        assert answer.headers["tus-version"] == "1.0.0"
    assert await tus.rows() == []
    assert service.blobs() == []


async def test_what_exactly_fits_is_begun_and_a_byte_more_is_not(tus: Tus) -> None:
    upload = await tus.begun(LIMIT)
    refused = await tus.create(1)
    assert (refused.status, refused.code) == (413, "quota_exceeded")
    assert refused.body["upgrade_url"]
    await tus.delete(upload)
    assert (await tus.create(1)).status == 201


async def test_the_plans_largest_file(tus: Tus, billing: Billing) -> None:
    billing.max_file = 1000
    assert (await tus.create(1001)).code == "file_too_large"
    upload = await tus.begun(None)
    refused = await tus.patch(upload, 0, b"x" * 1001)
    assert refused.code == "file_too_large"
    refused = await tus.patch(upload, 0, b"x", Upload_Length="1001")
    assert refused.code == "file_too_large"
    assert (await tus.patch(upload, 0, b"x" * 1000, Upload_Length="1000")).status == 204


@pytest.mark.parametrize(
    ("offset", "data", "said", "status", "code"),
    [
        ("5", b"x", {}, 409, "wrong_offset"),
        ("-1", b"x", {}, 400, "invalid_upload_offset"),
        ("", b"x", {}, 400, "invalid_upload_offset"),
        ("0", b"x", {"Content-Type": "application/octet-stream"}, 415, "content_type_unsupported"),
        ("0", b"x", {"Tus-Resumable": "2.0.0"}, 412, "version_unsupported"),
        ("0", b"x" * 11, {}, 413, "too_much_data"),
        ("0", b"x", {"Upload-Length": "9"}, 400, "invalid_upload_length"),
    ],
)
async def test_pieces_refused(tus: Tus, offset: str, data: bytes, said: dict[str, str], status: int, code: str) -> None:
    upload = await tus.begun(10)
    answer = await tus.call("PATCH", f"{PATH}/{upload}", data=data, **{"Upload-Offset": offset, **BYTES, **said})
    assert (answer.status, answer.code) == (status, code)
    head = await tus.head(upload)
    assert (head.status, head.offset) == (200, 0)
    assert (await tus.patch(upload, 0, b"0123456789")).status == 204


async def test_too_much_that_did_not_say_so(tus: Tus, service: Upload) -> None:
    upload = await tus.begun(300_000)
    answer = await tus.patch(upload, 0, chunked(*[DATA] * 8))
    assert (answer.status, answer.code) == (413, "file_too_large")
    offset = (await tus.head(upload)).offset
    assert offset <= 300_000
    assert (await service.account(tus.who.tenant))["reserved"] == 300_000
    refused = await tus.create(300_000, chunked(*[DATA] * 8))
    assert refused.code == "file_too_large"
    await tus.delete(upload)
    assert service.blobs() == []
    assert await tus.held() == 0


async def test_a_type_that_is_not_allowed_ends_the_upload(tus: Tus, service: Upload) -> None:
    upload = await tus.begun(len(DATA))
    policy = service.app.state.services.intake.policy
    object.__setattr__(policy, "allowed", frozenset({"image/png"}))
    answer = await tus.patch(upload, 0, DATA)
    assert (answer.status, answer.code) == (415, "type_not_allowed")
    assert (await tus.head(upload)).status == 404
    assert service.blobs() == []
    assert await tus.held() == 0


async def test_a_strangers_uploads_do_not_exist(tus: Tus, service: Upload) -> None:
    upload = await tus.begun(10)
    finished = (await tus.create(3, b"abc")).id
    stranger = Tus(service.customer())
    for known in (upload, finished, "3f2b1c9a-0000-7000-8000-000000000000"):
        assert (await stranger.head(known)).status == 404
        assert (await stranger.patch(known, 0, b"x")).code == "upload_not_found"
        assert (await stranger.delete(known)).code == "upload_not_found"
    assert (await tus.head(upload)).offset == 0
