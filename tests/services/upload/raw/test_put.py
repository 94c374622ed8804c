"""`PUT /api/storage/content/…` as a client sees it, and what is left when it goes wrong."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import pytest

from tests.fixtures.postgres import query
from tests.services.upload.conftest import LIMIT, Billing, Customer, Upload

PLACE = "/api/storage/content/documents/2026/note.txt"


async def put(who: Customer, data: Any, path: str = PLACE, **headers: str) -> tuple[int, Any, dict[str, str]]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"content-type": "text/plain", **given}
    return await who.call("PUT", path, data=data, headers=given)


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


async def chunked(content: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await asyncio.sleep(0)


async def garbage(service: Upload) -> int:
    return int((await query(service.dsn.superuser, "SELECT count(*) FROM blob_garbage"))[0][0])


async def is_as_before(service: Upload, tenant: UUID, *, files: int = 0) -> None:
    """No reservation, and no byte beyond the files that were there and what the worker knows to remove."""
    async with asyncio.timeout(5):
        while (await service.account(tenant))["reserved"] or len(service.blobs()) != files + await garbage(service):
            await asyncio.sleep(0.02)
    assert (await service.account(tenant))["files"] == files
    assert await query(service.dsn.superuser, "SELECT FROM reservation WHERE tenant_id = $1", tenant) == []


async def test_the_body_is_the_file(service: Upload) -> None:
    ada = service.customer()
    path = f"{PLACE}?subcategory=leases&entity_id=e7&metadata=" + quote('{"room": 7}')
    status, made, headers = await put(ada, b"hello", path)
    assert (status, made["file_name"], made["folder"], made["category"]) == (201, "note.txt", "2026", "documents")
    assert (made["subcategory"], made["entity_id"], made["metadata"]) == ("leases", "e7", {"room": 7})
    assert headers["etag"] == f'"{hashlib.sha256(b"hello").hexdigest()}"'
    assert (await ada.call("GET", headers["location"]))[1] == b"hello"
    assert made["quota"].items() <= (await ada.quota()).items()
    assert made["quota"]["used"] == 5


async def test_putting_again_replaces(service: Upload) -> None:
    ada = service.customer()
    _, first, _ = await put(ada, b"first")
    status, second, _ = await put(ada, b"the second")
    assert (status, second["file_id"], second["quota"]["used"]) == (200, first["file_id"], 10)
    assert [(e["action"], e["delta"]) for e in await service.ledger(ada.tenant)] == [("upload", 5), ("replace", 5)]
    assert (await put(ada, b"x", PLACE.replace("2026", "2027")))[0] == 201


async def test_a_replacement_needs_room_for_the_difference_alone(service: Upload) -> None:
    ada = service.customer()
    assert (await put(ada, b"a" * (LIMIT - 10)))[0] == 201
    assert (await put(ada, b"b" * LIMIT))[0] == 200
    assert (await put(ada, chunked(b"c" * LIMIT)))[0] == 200
    status, refused, _ = await put(ada, b"d" * (LIMIT + 1))
    assert (status, refused["code"]) == (413, "quota_exceeded")
    status, refused, _ = await put(ada, chunked(b"e" * (LIMIT + 1)))
    assert (status, refused["code"]) == (413, "quota_exceeded")
    assert (await ada.quota())["used"] == LIMIT
    assert (await put(ada, b"f"))[1]["quota"]["used"] == 1


async def test_kept_versions_give_no_credit(service: Upload) -> None:
    ada = service.customer()
    await put(ada, b"a" * (LIMIT - 10))
    await query(service.dsn.superuser, "UPDATE tenant_storage SET versions_kept = 3")
    await asyncio.sleep(1.1)  # terms are remembered for a second
    assert (await put(ada, b"b" * 11))[0] == 413
    assert (await put(ada, b"b" * 10))[0] == 200
    assert (await ada.quota())["used"] == LIMIT


@pytest.mark.parametrize("size", [0, 1, 70_000, 300_000, LIMIT])
async def test_an_unknown_length_stops_at_the_limit_and_not_before(service: Upload, size: int) -> None:
    ada = service.customer()
    assert (await put(ada, chunked(b"x" * size)))[0] == 201
    status, refused, _ = await put(ada, chunked(b"x" * (LIMIT - size + 1)), PLACE + "2")
    assert (status, refused["code"]) == (413, "quota_exceeded")
    assert (await put(ada, chunked(b"x" * (LIMIT - size)), PLACE + "2"))[0] == 201
    assert (await ada.quota())["used"] == LIMIT


async def test_the_plans_largest_file_whatever_is_said(service: Upload, billing: Billing) -> None:
    billing.max_file = 100_000
    ada = service.customer()
    for body in (b"x" * 100_001, chunked(b"x" * 100_001)):
        status, refused, headers = await put(ada, body)
        assert (status, refused["code"], headers["connection"]) == (413, "file_too_large", "close")
    await is_as_before(service, ada.tenant)
    assert (await put(ada, b"x" * 100_000))[0] == 201


@pytest.mark.parametrize("name", ["repr_digest", "content_digest"])
@pytest.mark.parametrize("size", [5, 500_000])
async def test_bytes_that_are_not_the_digests_leave_nothing(service: Upload, name: str, size: int) -> None:
    ada, content = service.customer(), b"x" * size
    status, refused, _ = await put(ada, content, **{name: digest(b"other")})
    assert (status, refused["code"]) == (422, "digest_mismatch")
    await is_as_before(service, ada.tenant)
    assert (await put(ada, content, **{name: digest(content)}))[0] == 201
    assert (await put(ada, b"new", **{name: digest(content)}))[0] == 422
    await is_as_before(service, ada.tenant, files=1)
    assert (await ada.quota())["used"] == size


async def test_conditions_hold(service: Upload) -> None:
    ada = service.customer()
    assert (await put(ada, b"1", if_match="*"))[0] == 412
    assert (await put(ada, b"1", if_none_match="*"))[0] == 201
    status, refused, headers = await put(ada, b"2", if_none_match="*")
    assert (status, refused["code"], headers["connection"]) == (412, "precondition_failed", "close")
    tag = f'"{hashlib.sha256(b"1").hexdigest()}"'
    assert (await put(ada, b"2", if_match=tag))[0] == 200
    assert (await put(ada, b"3", if_match=tag))[0] == 412
    assert (await put(ada, b"3", if_match="*"))[0] == 200
    assert (await ada.quota())["used"] == 1


async def test_of_many_at_once_one_finds_the_place_vacant(service: Upload) -> None:
    ada = service.customer()
    await put(ada, b"x", PLACE + "0")
    answers = await asyncio.gather(*(put(ada, b"%d" % n, if_none_match="*") for n in range(20)))
    assert sorted(status for status, _, _ in answers) == [201] + [412] * 19
    tag = next(headers["etag"] for status, _, headers in answers if status == 201)
    answers = await asyncio.gather(*(put(ada, b"%d" % n, if_match=tag) for n in range(100, 120)))
    assert sorted(status for status, _, _ in answers) == [200] + [412] * 19
    await is_as_before(service, ada.tenant, files=2)


async def test_many_at_once_leave_one_file(service: Upload) -> None:
    ada = service.customer()
    answers = await asyncio.gather(*(put(ada, b"x" * (1000 + n)) for n in range(20)))
    assert sorted(status for status, _, _ in answers) == [200] * 19 + [201]
    account = await service.account(ada.tenant)
    assert (account["files"], account["reserved"]) == (1, 0)
    rows = await query(service.dsn.superuser, "SELECT size, path FROM stored_file")
    assert [row["size"] for row in rows] == [account["used"]]
    assert (service.root / "blobs" / rows[0]["path"]).stat().st_size == account["used"]


async def test_the_same_key_stores_once(service: Upload) -> None:
    ada = service.customer()
    _, first, _ = await put(ada, b"first", idempotency_key="k")
    status, again, headers = await put(ada, b"other", idempotency_key="k")
    assert (status, again["file_id"], again["sha256"]) == (200, first["file_id"], first["sha256"])
    assert headers["idempotent-replayed"] == "true"
    await is_as_before(service, ada.tenant, files=1)


@pytest.mark.parametrize("path", ["documents/%C3%BC%20%26.txt", "documents/a/%F0%9F%8F%A0/100%2525", "documents/a+b"])
async def test_names_are_decoded_once(service: Upload, path: str) -> None:
    ada = service.customer()
    status, line, made = await send(service, ada, f"PUT /api/storage/content/{path}", b"x")
    assert (status, line) == (201, b"HTTP/1.1 201 Created")
    wanted = {"documents/a+b": "a+b", "documents/%C3%BC%20%26.txt": "ü &.txt"}.get(path, "100%25")
    assert f'"file_name":"{wanted}"'.encode() in made


@pytest.mark.parametrize(
    "path",
    [
        "documents/a%00b",
        "documents/a%2Fb",
        "documents/a%5Cb",
        "documents/..",
        "documents/../x",
        "documents/%2e%2e/x",
        "documents//x",
        "documents/",
        "documents",
        "nowhere/x",
        "documents/%FF",
        "documents/%0Ax",
        "documents/" + "x" * 256,
        "documents/" + "%C3%BC" * 128,
        "documents/" + "f/" * 600 + "x",
    ],
)
async def test_a_bad_path_is_refused_before_the_body(service: Upload, path: str) -> None:
    ada = service.customer()
    await ada.quota()
    status, _, answer = await send(service, ada, f"PUT /api/storage/content/{path}", b"", length=1000)
    assert status == 422
    assert b"connection: close" in answer.lower()
    await is_as_before(service, ada.tenant)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_encoding": "gzip"}, 415),
        ({"content_range": "bytes 0-4/10"}, 400),
        ({"repr_digest": "sha-256=:AAAA:"}, 422),
        ({"if_none_match": '"x"'}, 422),
        ({"idempotency_key": "k" * 256}, 422),
    ],
)
async def test_headers_that_cannot_be_kept_to_are_refused(
    service: Upload, headers: dict[str, str], status: int
) -> None:
    ada = service.customer()
    await ada.quota()
    assert (await put(ada, b"hello", **headers))[0] == status
    await is_as_before(service, ada.tenant)


async def test_a_truncated_body_leaves_nothing(service: Upload) -> None:
    ada = service.customer()
    await ada.quota()
    _, writer = await connect(service)
    writer.write(head(ada, f"PUT {PLACE}", 500_000) + b"x" * 300_000)
    await writer.drain()
    async with asyncio.timeout(5):
        while (await service.account(ada.tenant))["reserved"] != 500_000:
            await asyncio.sleep(0.02)
    writer.close()
    await is_as_before(service, ada.tenant)


async def test_a_refusal_costs_no_byte_with_expect_continue(service: Upload) -> None:
    ada = service.customer()
    await ada.quota()
    reader, writer = await connect(service)
    writer.write(head(ada, f"PUT {PLACE}", LIMIT + 1, "Expect: 100-continue"))
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_strangers_file_is_not_replaced(service: Upload) -> None:
    ada, eve = service.customer(), service.customer()
    _, made, _ = await put(ada, b"ada's")
    assert (await put(eve, b"eve's", if_match="*"))[0] == 412
    assert (await put(eve, b"eve's"))[0] == 201
    assert (await ada.call("GET", f"/api/storage/files/{made['file_id']}/content"))[1] == b"ada's"


async def connect(service: Upload) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(service.url)
    return await asyncio.open_connection(where.hostname, where.port)


def head(who: Customer, line: str, length: int, *more: str) -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: x", f"Content-Length: {length}", f"stowage-internal: {who.token}", *more]
    return ("\r\n".join([*lines, "", ""])).encode()


async def send(
    service: Upload, who: Customer, line: str, body: bytes, length: int | None = None
) -> tuple[int, bytes, bytes]:
    """The request's line exactly as it is written here; the answer's status, line and text."""
    reader, writer = await connect(service)
    writer.write(head(who, line, len(body) if length is None else length, "Connection: close") + body)
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), answer.split(b"\r\n")[0], answer
