"""Every way in and out of storage passes the door as it is."""

import base64

import pytest
from starlette.types import Receive, Send

from tests.services.gateway.harness import Gateway, Seen, answer_json, read_all

TUS = "/api/storage/uploads"
BASIC = "Basic " + base64.b64encode(b":secret").decode()


async def test_a_resumable_upload(gateway: Gateway) -> None:
    async def create(seen: Seen, receive: Receive, send: Send) -> None:
        seen.body = await read_all(receive)
        await answer_json(send, 201, b"", (b"location", b"/api/storage/uploads/1"), (b"tus-resumable", b"1.0.0"))

    async def go_on(seen: Seen, receive: Receive, send: Send) -> None:
        seen.body = await read_all(receive)
        headers = [(b"upload-offset", b"70000"), (b"upload-length", b"90000"), (b"cache-control", b"no-store")]
        status = 200 if seen.method == "HEAD" else 204
        await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"x-file-id", b"7")]})
        await send({"type": "http.response.body", "body": b""})

    gateway.stub.answers |= {TUS: create, f"{TUS}/1": go_on}
    person = await gateway.sign_up()
    tus = {**person.bearer, "tus-resumable": "1.0.0"}
    metadata = "filename bWFwLnBuZw==,category ZG9jdW1lbnRz"
    said = {**tus, "upload-length": "90000", "upload-metadata": metadata, "upload-concat": "partial"}
    async with gateway.http.post(gateway.url + TUS, headers=said) as answer:
        assert (answer.status, answer.headers["location"]) == (201, "/api/storage/uploads/1")
        assert answer.headers["tus-resumable"] == "1.0.0"
    seen = gateway.stub.seen[-1]
    assert [seen.values(name) for name in ("upload-length", "upload-metadata", "upload-concat")] == [
        ["90000"],
        [metadata],
        ["partial"],
    ]
    piece = {
        **tus,
        "upload-offset": "0",
        "upload-checksum": "sha1 x",
        "content-type": "application/offset+octet-stream",
    }
    for method, extra in (("PATCH", {}), ("POST", {"x-http-method-override": "PATCH"})):
        async with gateway.http.request(
            method, f"{gateway.url}{TUS}/1", headers={**piece, **extra}, data=bytes(70_000)
        ) as answer:
            assert (answer.status, answer.headers["upload-offset"], answer.headers["x-file-id"]) == (204, "70000", "7")
        seen = gateway.stub.seen[-1]
        assert (seen.method, len(seen.body), seen.values("upload-checksum")) == (method, 70_000, ["sha1 x"])
        assert seen.values("x-http-method-override") == list(extra.values())
    for method in ("HEAD", "DELETE"):
        async with gateway.http.request(method, f"{gateway.url}{TUS}/1", headers=tus) as answer:
            assert answer.headers["upload-length"] == "90000"
        assert gateway.stub.seen[-1].method == method


async def test_anybody_may_ask_what_the_server_can_do(gateway: Gateway) -> None:
    for path in (TUS, f"{TUS}/1"):
        assert (await gateway.call("OPTIONS", path))[0] == 200
    assert (await gateway.call("OPTIONS", "/api/storage/uploadsx"))[0] == 401
    for method in ("POST", "HEAD", "PATCH", "DELETE"):
        assert (await gateway.call(method, f"{TUS}/1"))[0] == 401
    assert {seen.principal.kind for seen in gateway.stub.seen} == {"anonymous"}


async def test_a_file_as_the_body(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    path = "/api/storage/content/documents/2025/Stra%C3%9Fe%20%26%20%23%25.pdf"
    headers = {**person.bearer, "content-type": "application/pdf", "repr-digest": "sha-256=:x:", "if-none-match": "*"}
    async with gateway.http.put(f"{gateway.url}{path}", headers=headers, data=b"x" * 100_000) as answer:
        assert answer.status == 200
    seen = gateway.stub.seen[-1]
    assert (seen.method, len(seen.body)) == ("PUT", 100_000)
    assert seen.path == "/api/storage/content/documents/2025/Straße & #%.pdf"
    assert [seen.values(name) for name in ("repr-digest", "if-none-match")] == [["sha-256=:x:"], ["*"]]
    assert (await gateway.call("PUT", path))[0] == 401


async def test_signed_addresses_need_no_account(gateway: Gateway) -> None:
    path = "/api/storage/direct/1?sig=abc"
    assert (await gateway.call("PUT", path, data=b"x"))[0] == 200
    # Also from a page that is signed in: the signature is the permission, no form token is asked for.
    person = await gateway.sign_up()
    cookie = {"cookie": f"stowage_access={person.access}"}
    assert (await gateway.call("PUT", path, data=b"x", headers=cookie))[0] == 200
    assert (await gateway.call("PUT", "/api/storage/content/a", data=b"x", headers=cookie))[0] == 403
    for method in ("GET", "POST", "DELETE", "PATCH"):
        assert (await gateway.call(method, path))[0] == 401


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_links_password_reaches_the_service_and_nothing_else_does(gateway: Gateway, method: str) -> None:
    async def refuse(_seen: Seen, _receive: Receive, send: Send) -> None:
        await answer_json(send, 401, b"{}", (b"www-authenticate", b'Basic realm="link"'))

    path = "/api/storage/signed/t/f"
    gateway.stub.answers[path] = refuse
    person, basic = await gateway.sign_up(), {"authorization": BASIC}
    async with gateway.http.request(method, f"{gateway.url}{path}?expires=1", headers=basic) as answer:
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="link"')
    assert gateway.stub.seen[-1].values("authorization") == [BASIC]
    assert gateway.stub.seen[-1].principal.kind == "anonymous"
    await gateway.call(method, path, headers=person.bearer)
    assert gateway.stub.seen[-1].values("authorization") == []
    asked = len(gateway.stub.seen)
    assert (await gateway.call(method, "/api/storage/quota", headers=basic))[0] == 401
    assert len(gateway.stub.seen) == asked
    await gateway.call(method, "/api/plans", headers=basic)
    assert gateway.stub.seen[-1].values("authorization") == []


async def test_several_ranges_in_one_answer(gateway: Gateway) -> None:
    body = b"--b\r\ncontent-range: bytes 0-0/9\r\n\r\nx\r\n--b\r\ncontent-range: bytes 8-8/9\r\n\r\ny\r\n--b--\r\n"

    async def parts(_seen: Seen, _receive: Receive, send: Send) -> None:
        kind = (b"content-type", b"multipart/byteranges; boundary=b")
        await send({"type": "http.response.start", "status": 206, "headers": [kind]})
        await send({"type": "http.response.body", "body": body})

    path = "/api/storage/files/1/content"
    gateway.stub.answers[path] = parts
    person = await gateway.sign_up()
    headers = {**person.bearer, "range": "bytes=0-0,8-8", "if-range": '"e"'}
    async with gateway.http.get(gateway.url + path, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (206, "multipart/byteranges")
        assert await answer.read() == body
    seen = gateway.stub.seen[-1]
    assert (seen.values("range"), seen.values("if-range")) == (["bytes=0-0,8-8"], ['"e"'])
