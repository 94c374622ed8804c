"""Uploading as a client sees it, and what is left behind when it goes wrong."""

import asyncio
import hashlib
from uuid import UUID, uuid4

import pytest

from tests.fixtures.postgres import query
from tests.services.upload.conftest import LIMIT, Billing, Upload


async def nothing_is_left(service: Upload, tenant: UUID) -> None:
    async with asyncio.timeout(5):
        while (await service.account(tenant))["reserved"] or service.blobs():
            await asyncio.sleep(0.02)
    account = await service.account(tenant)
    assert (account["used"], account["files"], account["seq"]) == (0, 0, 0)
    assert await service.ledger(tenant) == []


async def test_a_new_tenant_uploads_at_once(service: Upload, billing: Billing) -> None:
    ada = service.customer()
    content = b"hello"
    status, made = await ada.upload(content, fields={"subcategory": "leases", "metadata": '{"room": 7}'})
    assert status == 201
    assert made["file_size"] == 5
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    assert made["file_path"] == f"customers/{ada.tenant}/documents/leases/{made['file_id']}.txt"
    assert (made["content_type"], made["file_type"], made["metadata"]) == ("text/plain", "document", {"room": 7})
    assert made["quota"].items() <= (await ada.quota()).items()
    assert made["quota"]["used"] == 5
    assert made["quota"]["used_formatted"] == "5 Bytes"
    assert (service.root / "blobs" / made["file_path"]).read_bytes() == content
    entries = await service.ledger(ada.tenant)
    assert [(e["seq"], e["action"], e["delta"], e["type"]) for e in entries] == [(1, "upload", 5, "file.stored")]
    assert billing.asked == [ada.tenant]


async def test_what_exactly_fits_passes_and_a_byte_more_does_not(service: Upload) -> None:
    ada = service.customer()
    status, refused = await ada.upload(b"x" * (LIMIT + 1))
    assert (status, refused["code"]) == (413, "quota_exceeded")
    assert refused["quota_info"]["requested"] == LIMIT + 1
    assert refused["quota_info"]["available"] == LIMIT
    assert refused["upgrade_url"]
    await nothing_is_left(service, ada.tenant)
    assert (await ada.upload(b"x" * LIMIT))[0] == 201
    status, refused = await ada.upload(b"x")
    assert (status, refused["quota_info"]["available"]) == (413, 0)
    assert (await ada.upload(b""))[0] == 201
    assert (await ada.quota())["used"] == LIMIT


@pytest.mark.parametrize("size", [LIMIT, LIMIT - 1, LIMIT - 70_000])
async def test_a_client_that_does_not_say_the_size_is_judged_as_exactly(service: Upload, size: int) -> None:
    ada = service.customer()
    assert (await ada.upload(b"x" * size, say=False))[0] == 201
    assert (await ada.quota())["available"] == LIMIT - size
    status, refused = await ada.upload(b"x" * (LIMIT - size + 1), say=False)
    assert (status, refused["code"]) == (413, "quota_exceeded")
    assert (await ada.quota())["reserved"] == 0
    assert (await ada.upload(b"x" * (LIMIT - size), say=False))[0] == 201


async def test_fields_after_the_file_cost_nothing(service: Upload) -> None:
    ada = service.customer()
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    tail = b'\r\n--b\r\nContent-Disposition: form-data; name="category"\r\n\r\ndocuments\r\n--b--\r\n'
    body = head + b"x" * LIMIT + tail
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    status, made, _ = await ada.call("POST", "/api/storage/upload", data=body, headers=kind)
    assert (status, made["file_size"]) == (201, LIMIT)


async def test_a_lie_about_the_size_changes_nothing(service: Upload) -> None:
    ada = service.customer()
    status, made = await ada.upload(b"x" * 1000, say=False, headers={"X-File-Size": "3"})
    assert (status, made["file_size"]) == (201, 1000)
    status, made = await ada.upload(b"x" * 10, say=False, headers={"X-File-Size": "900000"})
    assert (status, made["quota"]["used"], made["quota"]["reserved"]) == (201, 1010, 0)
    status, _ = await ada.upload(b"x" * LIMIT, say=False, headers={"X-File-Size": "3"})
    assert status == 413
    assert (await ada.quota())["reserved"] == 0


async def test_a_refusal_costs_no_byte_with_expect_continue(service: Upload) -> None:
    ada = service.customer()
    await ada.quota()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.settings.port)
    head = (
        f"POST /api/storage/upload HTTP/1.1\r\nHost: x\r\nstowage-internal: {ada.token}\r\nExpect: 100-continue\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {LIMIT + 300_000}\r\n\r\n"
    )
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.read(65536), 5)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"quota_exceeded" in answer
    assert await asyncio.wait_for(reader.read(), 5) == b""  # and the connection is closed
    writer.close()


@pytest.mark.parametrize("how", ["vanishes", "too little", "too slow"])
async def test_a_client_that_does_not_finish_leaves_nothing(service: Upload, how: str) -> None:
    ada = service.customer()
    await ada.quota()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.settings.port)
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + b"x" * 200_000
    length = len(body) + (0 if how == "too little" else 1000)
    head = (
        f"POST /api/storage/upload HTTP/1.1\r\nHost: x\r\nstowage-internal: {ada.token}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    async with asyncio.timeout(5):
        while how == "vanishes" and not (await service.account(ada.tenant))["reserved"]:
            await asyncio.sleep(0.01)
    if how != "vanishes":
        answer = await asyncio.wait_for(reader.read(65536), 10)
        assert answer.split()[1] in {b"400", b"408"}
    writer.close()
    await nothing_is_left(service, ada.tenant)


@pytest.mark.parametrize(
    ("name", "fields", "code"),
    [
        ("../../etc/passwd", {}, "invalid_file_name"),
        ("a\x00b", {}, "invalid_file_name"),
        ("n" * 256, {}, "invalid_file_name"),
        ("ok.txt", {"category": "nowhere"}, "unknown_category"),
        ("ok.txt", {"subcategory": "../x"}, "unknown_category"),
        ("ok.txt", {"entity_id": "../x"}, "invalid_entity_id"),
        ("ok.txt", {"metadata": "[1]"}, "invalid_metadata"),
        ("ok.txt", {"metadata": '{"a": "\\u0000"}'}, "invalid_metadata"),
        ("ok.txt", {"project_id": "7"}, "invalid_project_id"),
    ],
)
async def test_a_bad_form_is_refused_and_leaves_nothing(
    service: Upload, name: str, fields: dict[str, str], code: str
) -> None:
    ada = service.customer()
    status, refused = await ada.upload(b"x" * 5000, name=name, fields=fields)
    assert (status, refused["code"]) == (422, code)
    await nothing_is_left(service, ada.tenant)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form at all",
        b"--b\r\n\r\nnameless\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="category"\r\n\r\ndocuments\r\n--b--\r\n',
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n' * 2) + b"--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"y" * 100_000 + b"\r\n--b--\r\n",
        b"--b\r\nX: " + b"h" * 10_000 + b"\r\n\r\n\r\n--b--\r\n",
    ],
)
async def test_no_form_breaks_it(service: Upload, body: bytes) -> None:
    ada = service.customer()
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    status, refused, _ = await ada.call("POST", "/api/storage/upload", data=body, headers=kind)
    assert status in {400, 422}
    assert refused["code"]
    await nothing_is_left(service, ada.tenant)


async def test_any_unicode_name_comes_back(service: Upload) -> None:
    ada = service.customer()
    name = "Straße 7 «家» 🏠.tar.gz"
    _, made = await ada.upload(b"x", name=name)
    assert made["file_name"] == name
    _, _, headers = await ada.call("GET", f"/api/storage/files/{made['file_id']}/content")
    assert "filename*=UTF-8''Stra%C3%9Fe%207" in headers["content-disposition"]
    assert headers["content-disposition"].startswith("attachment")


async def test_the_same_key_stores_once(service: Upload) -> None:
    ada, bob = service.customer(), service.customer()
    key = {"Idempotency-Key": "k-1"}
    made = await asyncio.gather(*(ada.upload(b"x" * 100, headers=key) for _ in range(8)))
    assert {status for status, _ in made} == {201}
    assert len({body["file_id"] for _, body in made}) == 1
    assert (await ada.quota())["used"] == 100
    assert (await ada.quota())["reserved"] == 0
    assert (await bob.upload(b"y" * 7, headers=key))[1]["file_size"] == 7
    assert len([p for p in service.blobs() if "blobs" in p.parts]) == 2


async def test_deleting_frees_at_once_and_books_it(service: Upload) -> None:
    ada = service.customer()
    _, one = await ada.upload(b"x" * 600_000)
    _, two = await ada.upload(b"x" * 400_000)
    assert (await ada.call("DELETE", f"/api/storage/files/{one['file_id']}"))[0] == 204
    assert (await ada.call("DELETE", f"/api/storage/files/{one['file_id']}"))[0] == 404
    assert (await ada.call("DELETE", "/api/storage/file", json={"file_path": two["file_path"]}))[0] == 204
    assert (await ada.quota())["used"] == 0
    assert (await ada.upload(b"x" * LIMIT))[0] == 201
    entries = await service.ledger(ada.tenant)
    assert [(e["seq"], e["delta"], e["category"]) for e in entries][2:4] == [
        (3, -600_000, "documents"),
        (4, -400_000, "documents"),
    ]


async def test_two_deletions_of_one_file_count_once(service: Upload) -> None:
    ada = service.customer()
    files = [(await ada.upload(b"x" * 10))[1]["file_id"] for _ in range(5)]
    answers = await asyncio.gather(*(ada.call("DELETE", f"/api/storage/files/{f}") for f in files * 4))
    assert sorted(a[0] for a in answers) == [204] * 5 + [404] * 15
    assert (await ada.quota())["used"] == 0


async def test_range_and_conditional_reading(service: Upload) -> None:
    ada = service.customer()
    content = bytes(range(256)) * 40
    _, made = await ada.upload(content)
    path = f"/api/storage/files/{made['file_id']}/content"
    status, body, headers = await ada.call("GET", path)
    assert (status, body) == (200, content)
    tag = headers["etag"]
    assert headers["content-security-policy"].startswith("sandbox")
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=-5", -5, None),
        ("bytes=10000-", 10000, None),
    ):
        status, body, headers = await ada.call("GET", path, headers={"Range": asked})
        assert (status, body) == (206, content[start:end])
        assert headers["content-length"] == str(len(content[start:end]))
    status, _, headers = await ada.call("GET", path, headers={"Range": "bytes=20000-"})
    assert (status, headers["content-range"]) == (416, f"bytes */{len(content)}")
    assert (await ada.call("GET", path, headers={"If-None-Match": tag}))[0] == 304
    assert (await ada.call("GET", path, headers={"Range": "bytes=0-3", "If-Range": '"other"'}))[0] == 200
    status, body, headers = await ada.call("HEAD", path)
    assert (status, body, headers["content-length"]) == (200, b"", str(len(content)))


async def test_a_link_needs_no_account_and_no_alteration(service: Upload) -> None:
    ada = service.customer()
    _, made = await ada.upload(b"secret")
    link = (await ada.call("GET", f"/api/storage/files/{made['file_id']}/url?expires_in=60"))[1]["url"]
    path = link.removeprefix(service.url)
    stranger = service.customer()
    assert (await stranger.call("GET", path))[1] == b"secret"
    # Every character of it counts.
    for i in range(path.index("signed/") + 7, len(path)):
        altered = path[:i] + ("A" if path[i] != "A" else "B") + path[i + 1 :]
        assert (await stranger.call("GET", altered))[0] in {403, 404, 422}
    assert (await stranger.call("GET", path[:-2] + ("A" if path[-2] != "A" else "B") + path[-1]))[0] == 403
    assert (await ada.call("GET", f"/api/storage/files/{made['file_id']}/url?expires_in=0"))[0] == 422
    short = (await ada.call("GET", f"/api/storage/files/{made['file_id']}/url?expires_in=1"))[1]["url"]
    await asyncio.sleep(1.1)
    status, refused, _ = await ada.call("GET", short.removeprefix(service.url))
    assert (status, refused["code"]) == (403, "link_expired")


async def test_a_strangers_ids_do_not_exist(service: Upload) -> None:
    ada, bob = service.customer(), service.customer()
    _, made = await ada.upload(b"secret")
    await bob.quota()
    for method, path, body in (
        ("GET", f"/api/storage/files/{made['file_id']}", None),
        ("GET", f"/api/storage/files/{made['file_id']}/content", None),
        ("GET", f"/api/storage/files/{made['file_id']}/url", None),
        ("DELETE", f"/api/storage/files/{made['file_id']}", None),
        ("DELETE", "/api/storage/file", {"file_path": made["file_path"]}),
    ):
        theirs = await bob.call(method, path, json=body)
        unknown = await bob.call(method, path.replace(made["file_id"], str(uuid4())), json=body and {"file_path": "x"})
        assert theirs[0] == unknown[0] == 404
        assert {**theirs[1], "trace_id": 0} == {**unknown[1], "trace_id": 0}
    assert (await bob.call("GET", "/api/storage/files"))[1]["items"] == []
    assert (await ada.quota())["used"] == 6


async def test_the_list_pages_through_everything_once(service: Upload) -> None:
    ada = service.customer()
    made = {(await ada.upload(b"x"))[1]["file_id"] for _ in range(7)}
    seen: list[str] = []
    cursor = ""
    while True:
        _, page, _ = await ada.call("GET", f"/api/storage/files?limit=3{cursor}")
        seen += [item["file_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(made)
    assert (await ada.call("GET", "/api/storage/files?cursor=nonsense"))[0] == 422


async def test_unknown_terms_refuse(service: Upload, billing: Billing) -> None:
    billing.url = ""
    service.app.state.services.accounts._entitlements._billing._base = "http://127.0.0.1:1"
    status, refused = await service.customer().upload(b"x")
    assert (status, refused["code"]) == (503, "entitlements_unknown")


async def test_the_plans_largest_file(service: Upload, billing: Billing) -> None:
    billing.max_file = 1000
    ada = service.customer()
    await ada.quota()
    for say in (True, False):
        status, refused = await ada.upload(b"x" * 1001, say=say)
        assert (status, refused["code"]) == (413, "file_too_large")
    assert (await ada.upload(b"x" * 1000))[0] == 201


async def test_without_a_token_nothing(service: Upload) -> None:
    async with service.http.get(service.url + "/api/storage/quota") as answer:
        assert answer.status == 401
        assert (await answer.json())["code"] == "internal_token_required"


async def test_the_proof_agrees_and_notices(service: Upload) -> None:
    ada = service.customer()
    files = [(await ada.upload(b"x" * n))[1] for n in (1, 20, 300)]
    await ada.call("DELETE", f"/api/storage/files/{files[1]['file_id']}")
    prove = service.app.state.services.proof.prove
    proof = await prove(ada.tenant, None)
    assert (proof.position, sum(k.bytes for k in proof.kinds), sum(k.files for k in proof.kinds)) == (4, 301, 2)
    assert (proof.store.bytes, proof.store.files, proof.store.missing) == (301, 2, [])
    entries = await service.ledger(ada.tenant)
    assert proof.head_hash == entries[-1]["hash"].hex()
    assert (await prove(ada.tenant, 2)).head_hash == entries[1]["hash"].hex()
    (service.root / "blobs" / files[2]["file_path"]).write_bytes(b"short")
    assert (await prove(ada.tenant, None)).store.missing == [files[2]["file_path"]]
    await query(service.dsn.superuser, "ALTER TABLE storage_transaction DISABLE TRIGGER ALL")
    await query(
        service.dsn.superuser,
        "UPDATE storage_transaction SET body = replace(body, '\"size\":20', '\"size\":19') WHERE seq = 2",
    )
    with pytest.raises(Exception, match="chain breaks at entry 2"):
        await prove(ada.tenant, None)
