"""What crosses the gateway, and as what."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import Receive, Send

from services.gateway.proxy.headers import MalformedRequest, body_length, check_path, request_head
from services.gateway.proxy.routing import service_of
from tests.fixtures.postgres import query
from tests.services.gateway.harness import Gateway, Seen, answer_json, json_answer, read_all
from tests.services.gateway.proxy.raw import post, raw_client


async def test_who_asks_is_said_by_the_gateway_alone(gateway: Gateway) -> None:
    person = await gateway.sign_up("Harbour")
    headers = person.bearer | {
        "stowage-internal": "forged",
        "Stowage-Client-Address": "6.6.6.6",
        "x-forwarded-for": "6.6.6.6",
        "X-Forwarded-Host": "evil",
        "forwarded": "for=6.6.6.6",
        "x-real-ip": "6.6.6.6",
        "cookie": "a=b",
        "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        "connection": "keep-alive, x-private",
        "x-private": "one hop",
        "te": "trailers",
        "x-file-size": "7",
    }
    assert (await gateway.call("GET", "/api/storage/quota?a=%26&b=1", headers=headers))[0] == 200
    seen = gateway.stub.seen[-1]
    assert seen.query == "a=%26&b=1"
    assert (seen.principal.kind, seen.principal.tenant_slug, seen.principal.role) == ("user", "harbour", "owner")
    assert (str(seen.principal.user_id), seen.principal.issuer) == (person.user["id"], "gateway")
    assert seen.values("stowage-client-address") == ["127.0.0.1"]
    assert seen.values("x-file-size") == ["7"]
    assert len(seen.values("stowage-internal")) == 1
    gone = (
        "x-forwarded-for",
        "x-forwarded-host",
        "forwarded",
        "x-real-ip",
        "cookie",
        "authorization",
        "x-private",
        "te",
    )
    assert [name for name in gone if seen.values(name)] == []
    assert not any("1" * 32 in value for value in seen.values("traceparent"))


async def test_answers_lose_what_belongs_to_one_hop(gateway: Gateway) -> None:
    async def answer(_seen: Seen, _receive: Receive, send: Send) -> None:
        headers = [(b"set-cookie", b"a=b"), (b"stowage-secret", b"1"), (b"keep-alive", b"5"), (b"etag", b'"x"')]
        await answer_json(send, 200, b"{}", *headers)

    gateway.stub.answers["/api/storage/quota"] = answer
    person = await gateway.sign_up()
    async with gateway.http.get(f"{gateway.url}/api/storage/quota", headers=person.bearer) as answer_:
        names = {name.lower() for name in answer_.headers}
        assert answer_.headers["etag"] == '"x"'
        assert not names & {"set-cookie", "stowage-secret", "keep-alive"}


async def test_anonymous_routes_and_no_others(gateway: Gateway) -> None:
    for method, path, status in (
        ("GET", "/api/storage/signed/t/f?expires=1", 200),
        ("POST", "/api/payments/callback", 200),
        ("GET", "/api/plans", 200),
        ("GET", "/api/storage/quota", 401),
        ("POST", "/api/storage/signed/t/f", 401),
        ("GET", "/api/payments/callback", 401),
        ("POST", "/api/plans", 401),
        ("GET", "/api/usage/summary", 401),
    ):
        assert (await gateway.call(method, path))[0] == status, path
    assert {seen.principal.kind for seen in gateway.stub.seen} == {"anonymous"}
    # A provider's own credentials are none of ours, and no reason to refuse its callback.
    assert (await gateway.call("POST", "/api/payments/callback", headers={"authorization": "Bearer abc"}))[0] == 200


async def test_x_tenant_picks_among_ones_own(gateway: Gateway) -> None:
    person, other = await gateway.sign_up("Harbour"), await gateway.sign_up("Lighthouse")
    path = "/api/storage/quota"
    for slug in ("lighthouse", "nowhere"):
        status, problem = await gateway.call("GET", path, headers=person.bearer | {"x-tenant": slug})
        assert (status, problem["code"]) == (404, "tenant_not_found")
    await query(
        gateway.database.superuser,
        "INSERT INTO membership SELECT $1::text::uuid, $2::text::uuid, 'member', now()",
        other.tenant["id"],
        person.user["id"],
    )
    _, made = await gateway.call("POST", "/api/auth/refresh", json={"refresh_token": person.refresh})
    again = {"authorization": f"Bearer {made['access_token']}"}
    gateway_sees = []
    for headers in (again, again | {"x-tenant": "lighthouse"}):
        await gateway.call("GET", path, headers=headers)
        gateway_sees.append((gateway.stub.seen[-1].principal.tenant_slug, gateway.stub.seen[-1].principal.role))
    # The change is seen within half a minute; the session's account is kept that long.
    assert gateway_sees[0] == ("harbour", "owner")
    assert (await gateway.call("GET", "/api/tenants", headers=again))[1]["items"][1]["slug"] == "lighthouse"


async def test_internal_is_nobodys_from_outside(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    for path in (
        f"/internal/tenants/{person.tenant['id']}",
        f"/internal/outbox/tenants.v1/{person.tenant['id']}",
        "/internal/usage/x/wait",
        "/api/storage/../../internal/usage",
        "/api/storage/%2e%2e/%2e%2e/internal",
    ):
        async with raw_client(gateway.port) as client:
            await client.send(post(person.access, 0, path=path).replace(b"POST", b"GET"))
            assert (await client.head()).split()[1] in (b"400", b"401", b"404"), path
    assert gateway.stub.seen == []


async def test_chunked_upload_stays_chunked(gateway: Gateway) -> None:
    person = await gateway.sign_up()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(10_000)

    status, answer = await gateway.call("POST", "/api/storage/upload", headers=person.bearer, data=body())
    assert (status, answer) == (200, {"bytes": 400_000})
    seen = gateway.stub.seen[-1]
    assert (seen.values("transfer-encoding"), seen.values("content-length")) == (["chunked"], [])
    assert seen.values("expect") == ["100-continue"]


async def test_head_and_empty_answers(gateway: Gateway) -> None:
    async def file(_seen: Seen, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"12345")]})
        await send({"type": "http.response.body", "body": b""})

    async def unchanged(_seen: Seen, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", b'"x"')]})
        await send({"type": "http.response.body", "body": b""})

    gateway.stub.answers |= {"/api/storage/files/1/content": file, "/api/storage/files/2/content": unchanged}
    person = await gateway.sign_up()
    for _ in range(2):  # the connection upstream lives on
        async with gateway.http.head(f"{gateway.url}/api/storage/files/1/content", headers=person.bearer) as answer:
            assert (answer.status, answer.headers["content-length"]) == (200, "12345")
        async with gateway.http.get(f"{gateway.url}/api/storage/files/2/content", headers=person.bearer) as answer:
            assert (answer.status, await answer.read()) == (304, b"")


async def test_answer_streams_as_it_comes(gateway: Gateway) -> None:
    released = asyncio.Event()

    async def slowly(_seen: Seen, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await released.wait()
        await send({"type": "http.response.body", "body": b"second"})

    gateway.stub.answers["/api/storage/files"] = slowly
    person = await gateway.sign_up()
    async with gateway.http.get(f"{gateway.url}/api/storage/files", headers=person.bearer) as answer:
        assert await answer.content.readany() == b"first"
        released.set()
        assert await answer.content.read() == b"second"


async def test_download_of_many_megabytes_is_whole(gateway: Gateway) -> None:
    block = bytes(range(256)) * 1024

    async def file(_seen: Seen, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(128):
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    gateway.stub.answers["/api/storage/files/1/content"] = file
    person = await gateway.sign_up()
    async with gateway.http.get(f"{gateway.url}/api/storage/files/1/content", headers=person.bearer) as answer:
        assert await answer.read() == block * 128


async def test_nothing_piles_up_before_a_slow_service(gateway: Gateway) -> None:
    taken = asyncio.Event()

    async def waits(_seen: Seen, receive: Receive, send: Send) -> None:
        await receive()
        await taken.wait()
        await read_all(receive)
        await answer_json(send, 200, b"{}")

    gateway.stub.answers["/api/storage/upload"] = waits
    person = await gateway.sign_up()
    size, sent = 256 << 20, 0
    async with raw_client(gateway.port) as client:
        head = f"POST /api/storage/upload HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {person.access}\r\n"
        await client.send(f"{head}content-length: {size}\r\n\r\n".encode())
        try:
            async with asyncio.timeout(1.5):
                while sent < size:
                    await client.send(bytes(1 << 20))
                    sent += 1 << 20
        except TimeoutError:
            pass
        # What went is in the kernel's buffers of the sockets on the way.
        assert sent < 48 << 20
        client.writer.transport.abort()
    taken.set()


async def test_a_connection_serves_many_requests(gateway: Gateway) -> None:
    gateway.stub.answers["/api/storage/quota"] = json_answer(200, b"{}")
    person = await gateway.sign_up()
    for _ in range(20):
        assert (await gateway.call("GET", "/api/storage/quota", headers=person.bearer))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"5"), (b"content-length", b"5")],
        [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"+5")],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_ambiguous_framing_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(MalformedRequest):
        body_length(headers)


def test_paths() -> None:
    for path in ("/api/../internal", "/a/./b", "/a\\b", "/a\nb", "a"):
        with pytest.raises(MalformedRequest):
            check_path(path)
    assert service_of("/api/storage/quota") == "upload"
    assert service_of("/api/plans") == "billing"
    assert service_of("/api/billing/details") == "billing"
    assert service_of("/api/admin/invoices/x/credit-notes") == "billing"
    assert service_of("/api/admin/usage/tenants/x/isolation") == "usage"
    assert service_of("/api/admin/usagex") is None
    assert service_of("/api/plansx") is None
    assert service_of("/api/admin/usage/disk/runs") == "usage"
    assert service_of("/internal/usage/x") is None
    assert service_of("/") is None
    for service in ("upload", "usage", "billing"):
        assert service_of(f"/api/admin/{service}/dead-letters") == service
        assert service_of(f"/api/admin/{service}/dead-letters/x/replay") == service
    assert service_of("/api/admin/gateway/dead-letters") is None


def test_head_is_written_once_for_each_header() -> None:
    head, expect = request_head("POST", b"/x", [(b"host", b"a"), (b"content-length", b"3")], 3, {b"host": b"upload"})
    assert head == b"POST /x HTTP/1.1\r\nhost: upload\r\ncontent-length: 3\r\n\r\n"
    assert not expect
