"""One service asks another: signed, in time, and with its refusals understood."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

import pytest
from fastapi import APIRouter, Request
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from deploy.local.ports import free_port
from shared.errors import DomainError, UpstreamError
from shared.http import CurrentPrincipal, ServiceClient, create_app
from shared.security import Principal
from shared.settings import ServiceSettings
from tests.services.billing.serving import served

SECRET = "0123456789abcdef0123456789abcdef-tests"
PERSON = Principal(kind="user", user_id=UUID(int=1), tenant_id=UUID(int=2), role="owner", email="ann@acme.test")

router = APIRouter()
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Sample(ServiceSettings):
    service_name: ClassVar[str] = "sample"


@router.get("/who")
async def who(principal: CurrentPrincipal, request: Request) -> dict[str, Any]:
    return {
        "principal": [principal.kind, principal.issuer, principal.email, str(principal.tenant_id)],
        "traceparent": request.headers.get("traceparent"),
    }


@router.post("/echo")
async def echo(body: dict[str, Any]) -> dict[str, Any]:
    return body


@router.delete("/nothing", status_code=204)
async def nothing() -> None:
    return None


@router.get("/refused")
async def refused() -> None:
    raise DomainError("quota_exceeded", 409, "No room is left.")


@router.get("/slow")
async def slow() -> None:
    await asyncio.sleep(2)


@pytest.fixture(scope="module")
async def sister() -> AsyncIterator[str]:
    settings = Sample(mode="local", database_url="unused", kafka_bootstrap="unused", internal_secret=SECRET)
    async with served(create_app(settings, title="Sample", routers=[router])) as url:
        yield url


@asynccontextmanager
async def raw(talk: Talk) -> AsyncIterator[str]:
    """A server that says whatever `talk` writes to each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def client(url: str, **options: Any) -> ServiceClient:
    told = {"secret": SECRET, "issuer": "usage", "audience": "sample", **options}
    return ServiceClient(url, **told)


async def test_the_answer_is_decoded(sister: str) -> None:
    async with client(sister + "/") as asked:
        assert await asked.request_json("POST", "/echo", json={"word": "Grüße", "n": 1}) == {"word": "Grüße", "n": 1}
        assert await asked.request_json("DELETE", "/nothing") is None


async def test_it_signs_as_a_service_or_for_whom_it_acts(sister: str) -> None:
    async with client(sister) as asked:
        assert (await asked.request_json("GET", "/who"))["principal"] == ["service", "usage", None, "None"]
        told = await asked.request_json("GET", "/who", principal=PERSON)
        assert told["principal"] == ["user", "usage", "ann@acme.test", str(UUID(int=2))]
        # Nothing of a person is kept for the next call.
        assert (await asked.request_json("GET", "/who"))["principal"] == ["service", "usage", None, "None"]


async def test_its_own_token_is_renewed_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client("http://127.0.0.1:1") as asked:
        first = asked._sign(None)
        assert asked._sign(None) == first
        # Their clocks alone: a loop that sleeps by another one sleeps until this has been caught up with.
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 31, time=lambda: time.time() + 31)
        monkeypatch.setattr("shared.http.client.time", later)
        monkeypatch.setattr("shared.security.internal.time", later)
        assert asked._sign(None) != first


@pytest.mark.parametrize("wrong", [{"secret": SECRET[::-1]}, {"audience": "billing"}])
async def test_a_token_the_sister_does_not_take(sister: str, wrong: dict[str, str]) -> None:
    async with client(sister, **wrong) as asked:
        with pytest.raises(UpstreamError) as error:
            await asked.request_json("GET", "/who")
    assert (error.value.status, error.value.code) == (401, "internal_token_required")


async def test_a_problem_keeps_its_status_code_and_detail(sister: str) -> None:
    async with client(sister) as asked:
        with pytest.raises(UpstreamError) as error:
            await asked.request_json("GET", "/refused")
    told = error.value
    assert (told.status, told.code, told.detail) == (409, "quota_exceeded", "No room is left.")
    assert str(told) == "409 quota_exceeded: No room is left."


@pytest.mark.parametrize("body", ["", "<h1>Bad Gateway</h1>", "[]", "5", '{"code": "x"}', '{"error": "no"}'])
async def test_a_refusal_in_another_form(body: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 502 Bad Gateway\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()

    async with raw(talk) as url, client(url) as asked:
        with pytest.raises(UpstreamError) as error:
            await asked.request_json("GET", "/")
    assert (error.value.status, error.value.code) == (502, "unknown")


@pytest.mark.parametrize("own", [True, False])
async def test_an_answer_that_does_not_come_in_time_is_given_up(sister: str, own: bool) -> None:
    since = time.monotonic()
    async with client(sister, timeout=0.3 if own else 60) as asked:
        with pytest.raises(UpstreamError) as error:
            await asked.request_json("GET", "/slow", timeout=None if own else 0.3)
    assert (error.value.status, error.value.code) == (503, "unreachable")
    assert 0.25 < time.monotonic() - since < 1.5


async def test_an_answer_that_comes_too_slowly_is_given_up_as_well() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(20):
            writer.write(b" ")
            await asyncio.sleep(0.1)

    since = time.monotonic()
    async with raw(talk) as url, client(url, timeout=0.5) as asked:
        with pytest.raises(UpstreamError, match="503 unreachable: sample: TimeoutError"):
            await asked.request_json("GET", "/")
        assert 0.4 < time.monotonic() - since < 1.5


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nobody_there(method: str) -> None:
    async with client(f"http://127.0.0.1:{free_port()}") as asked:
        with pytest.raises(UpstreamError) as error:
            await asked.request_json(method, "/", json={} if method == "POST" else None)
    assert (error.value.status, error.value.code) == (503, "unreachable")


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("POST", 1), ("DELETE", 1)])
async def test_a_lost_connection_is_tried_once_more_for_a_get_only(method: str, times: int) -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))

    async with raw(talk) as url, client(url) as asked:
        with pytest.raises(UpstreamError) as error:
            await asked.request_json(method, "/")
    assert (error.value.status, error.value.code) == (503, "unreachable")
    assert len(heads) == times


async def test_the_second_try_may_succeed() -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if len(heads) == 2:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            await writer.drain()

    async with raw(talk) as url, client(url) as asked:
        assert await asked.request_json("GET", "/") == {}


async def test_an_answer_that_is_no_json_is_an_upstream_error() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<h1>hello")
        await writer.drain()

    async with raw(talk) as url, client(url) as asked:
        with pytest.raises(UpstreamError):
            await asked.request_json("GET", "/")


async def test_the_trace_goes_along(sister: str) -> None:
    context = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    async with client(sister) as asked:
        with trace.use_span(NonRecordingSpan(context)):
            told = await asked.request_json("GET", "/who")
        assert told["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"
        assert (await asked.request_json("GET", "/who"))["traceparent"] is None


async def test_a_connection_is_kept_for_the_next_call() -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.read(65536):
            body = json.dumps(connections)
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())

    async with raw(talk) as url, client(url) as asked:
        assert [await asked.request_json("GET", "/") for _ in range(3)] == [1, 1, 1]
