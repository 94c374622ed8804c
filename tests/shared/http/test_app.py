"""What every service says of itself and of what goes wrong, as a caller meets it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

import aiohttp
import jwt
import pytest
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel

from shared.errors import DomainError, UpstreamError
from shared.http import CurrentPrincipal, Problem, ServiceOnly, create_app
from shared.http.app import MAX_BODY
from shared.security import Principal, sign
from shared.settings import ServiceSettings
from tests.services.billing.serving import served

SECRET = "0123456789abcdef0123456789abcdef-tests"
PASSWORD = "hunter2-of-ann"
FILE = UUID(int=7)

router = APIRouter()


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "sample"


class Order(BaseModel):
    number: int
    word: str = ""


@router.post("/orders")
async def order(body: Order) -> dict[str, int]:
    return {"number": body.number, "length": len(body.word)}


@router.get("/refused")
async def refused() -> None:
    raise DomainError("quota_exceeded", 409, "No room is left.", file_id=FILE, free=0)


@router.get("/problem")
async def problem() -> None:
    raise Problem(429, "too_many", "Slower.", title="Slow down", headers={"retry-after": "3"})


@router.get("/upstream")
async def upstream() -> None:
    raise UpstreamError(500, "broken", f"it said {PASSWORD}")


@router.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418, "short and stout")


@router.get("/crash/{name}")
async def crash(name: str) -> None:
    raise RuntimeError(f"{name} has the password {PASSWORD}")


@router.get("/who")
async def who(principal: CurrentPrincipal) -> dict[str, str]:
    return {"kind": principal.kind, "issuer": principal.issuer, "user_id": str(principal.user_id)}


@router.get("/sisters")
async def sisters(_: ServiceOnly) -> dict[str, str]:
    return {"hello": "sister"}


@router.post("/drain")
async def drain(request: Request) -> dict[str, int]:
    return {"length": len(await request.body())}


@dataclass
class Answer:
    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Caller:
    """Calls one application as the gateway would, or with the token it is given."""

    url: str
    http: aiohttp.ClientSession

    async def __call__(self, method: str, path: str, *, token: str | None = None, **options: Any) -> Answer:
        headers = {"stowage-internal": signed() if token is None else token, **options.pop("headers", {})}
        if not headers["stowage-internal"]:
            del headers["stowage-internal"]
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            return Answer(answer.status, answer.headers, await answer.text())


def signed(*, audience: str = "sample", secret: str = SECRET, lifetime: int = 60) -> str:
    principal = Principal(kind="user", user_id=FILE)
    return sign(principal, secret=secret, audience=audience, issuer="gateway", lifetime=lifetime)


def settings() -> Settings:
    return Settings(mode="local", database_url="unused", kafka_bootstrap="unused", internal_secret=SECRET)


@pytest.fixture
def failing() -> set[str]:
    """Names of checks that fail, "slow" among them never ends."""
    return set()


@pytest.fixture
async def call(failing: set[str]) -> AsyncIterator[Caller]:
    async def database() -> None:
        if "database" in failing:
            raise OSError(f"cannot reach it with {PASSWORD}")

    async def slow() -> None:
        if "slow" in failing:
            await asyncio.sleep(60)

    app = create_app(settings(), title="Sample", routers=[router], checks={"database": database, "slow": slow})
    async with served(app) as url, aiohttp.ClientSession() as http:
        yield Caller(url, http)


def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Everything said at WARNING and above, by whom ever."""
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def assert_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """RFC 9457, and nothing a stranger should read."""
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json
    assert (told["status"], told["code"], told["type"]) == (status, code, f"urn:stowage:problem:{code}")
    assert told["title"]
    assert told["detail"]
    assert "trace_id" in told
    assert PASSWORD not in answer.text
    assert "Traceback" not in answer.text
    assert isinstance(told, dict)
    return told


async def test_an_unknown_route(call: Caller) -> None:
    told = assert_problem(await call("GET", "/nowhere"), 404, "not_found")
    assert told["title"] == "Not Found"


async def test_a_slash_too_many_is_not_redirected_to_a_host_only_the_gateway_reaches(call: Caller) -> None:
    assert_problem(await call("GET", "/refused/", allow_redirects=False), 404, "not_found")


async def test_a_wrong_method(call: Caller) -> None:
    answer = await call("DELETE", "/orders")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_a_request_that_is_not_well_formed_names_the_fields_and_echoes_nothing(call: Caller) -> None:
    answer = await call("POST", "/orders", json={"number": PASSWORD})
    told = assert_problem(answer, 422, "invalid_request")
    assert [error["field"] for error in told["errors"]] == ["body.number"]
    assert set(told["errors"][0]) == {"field", "message"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
async def test_a_body_that_is_no_order(call: Caller, body: bytes) -> None:
    answer = await call("POST", "/orders", data=body, headers={"content-type": "application/json"})
    assert_problem(answer, 422, "invalid_request")


async def test_a_domain_error_keeps_its_code_and_its_extras(call: Caller) -> None:
    told = assert_problem(await call("GET", "/refused"), 409, "quota_exceeded")
    assert (told["detail"], told["file_id"], told["free"]) == ("No room is left.", str(FILE), 0)
    assert told["title"] == "Conflict"


async def test_a_problem_brings_its_title_and_headers(call: Caller) -> None:
    answer = await call("GET", "/problem")
    assert assert_problem(answer, 429, "too_many")["title"] == "Slow down"
    assert answer.headers["retry-after"] == "3"


async def test_any_other_refusal_of_the_framework(call: Caller) -> None:
    assert_problem(await call("GET", "/teapot"), 418, "request_refused")


async def test_a_failing_sister_is_503_and_its_words_stay_in_the_log(
    call: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    assert_problem(await call("GET", "/upstream"), 503, "upstream_unavailable")
    assert [PASSWORD in record.getMessage() for record in complaints(caplog)] == [True]


async def test_a_crash_is_500_without_a_word_and_logged_once(call: Caller, caplog: pytest.LogCaptureFixture) -> None:
    told = assert_problem(await call("GET", "/crash/ann"), 500, "internal_error")
    assert set(told) == {"type", "title", "status", "detail", "code", "trace_id"}
    assert [record.getMessage() for record in complaints(caplog)] == ["GET /crash/{name} failed"]
    trace = complaints(caplog)[0].exc_info
    assert trace is not None
    assert isinstance(trace[1], RuntimeError)
    assert (await call("GET", "/who")).status == 200


async def test_a_body_of_exactly_the_limit_is_taken(call: Caller) -> None:
    assert (await call("POST", "/drain", data=b"x" * MAX_BODY)).json == {"length": MAX_BODY}


async def test_a_body_announced_too_large_is_refused_before_a_byte_of_it(call: Caller) -> None:
    head = f"POST /drain HTTP/1.1\r\nhost: x\r\nstowage-internal: {signed()}\r\ncontent-length: {MAX_BODY + 1}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(call.url.rpartition(":")[2]))
    try:
        writer.write(head.encode())
        async with asyncio.timeout(5):
            told = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = json.loads(await reader.read())  # the connection ends with the answer
    finally:
        writer.close()
        await writer.wait_closed()
    assert told.startswith("http/1.1 413 ")
    for line in ("content-type: application/problem+json", "x-content-type-options: nosniff", "connection: close"):
        assert f"\r\n{line}\r\n" in told
    assert (body["status"], body["code"]) == (413, "body_too_large")


async def test_a_body_found_too_large(call: Caller, caplog: pytest.LogCaptureFixture) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 65536 + 1):
            yield b"x" * 65536

    answer = await call("POST", "/drain", data=pieces())
    assert_problem(answer, 413, "body_too_large")
    assert_secured(answer)
    assert complaints(caplog) == []


async def test_the_token_says_who_asks(call: Caller) -> None:
    assert (await call("GET", "/who")).json == {"kind": "user", "issuer": "gateway", "user_id": str(FILE)}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        signed(secret=SECRET[::-1]),
        signed(lifetime=-60),
        signed(audience="billing"),
        jwt.encode({"kind": "service", "iss": "gateway", "aud": "sample", "exp": 2**40}, "", algorithm="none"),
    ],
    ids=["missing", "nonsense", "forged", "expired", "for_another", "unsigned"],
)
async def test_nobody_else_is_answered(call: Caller, token: str) -> None:
    for method, path in (("GET", "/who"), ("GET", "/nowhere"), ("POST", "/orders"), ("GET", "/openapi.json")):
        answer = await call(method, path, token=token)
        assert_problem(answer, 401, "internal_token_required")
        assert_secured(answer)


async def test_two_tokens_are_as_good_as_none(call: Caller) -> None:
    async with call.http.get(
        call.url + "/who", headers=[("stowage-internal", signed()), ("stowage-internal", signed())]
    ) as answer:
        assert answer.status == 401


async def test_to_people_the_routes_of_sisters_do_not_exist(call: Caller) -> None:
    sister = sign(Principal(kind="service"), secret=SECRET, audience="sample", issuer="usage")
    assert (await call("GET", "/sisters", token=sister)).json == {"hello": "sister"}
    hidden, unknown = await call("GET", "/sisters"), await call("GET", "/nowhere")
    assert hidden.text == unknown.text


async def test_a_public_application_answers_without_a_token() -> None:
    app = create_app(settings(), title="Sample", routers=[router], public=True)
    async with served(app) as url, aiohttp.ClientSession() as http:
        caller = Caller(url, http)
        answer = await caller("GET", "/who", token="")
        assert answer.json == {"kind": "anonymous", "issuer": "", "user_id": "None"}
        assert_secured(answer)


async def test_alive_whatever_fails(call: Caller, failing: set[str]) -> None:
    failing.add("database")
    answer = await call("GET", "/healthz", token="")
    assert (answer.status, answer.json) == (200, {"status": "alive"})


async def test_ready_when_every_check_passes(call: Caller, failing: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await call("GET", "/readyz", token="")
    assert (answer.status, answer.json) == (200, {"status": "ready", "failed": []})
    failing.add("database")
    answer = await call("GET", "/readyz", token="")
    assert (answer.status, answer.json) == (503, {"status": "unready", "failed": ["database"]})
    monkeypatch.setattr("shared.http.app.CHECK_SECONDS", 0.2)
    failing.add("slow")
    async with asyncio.timeout(10):
        answer = await call("GET", "/readyz", token="")
    assert (answer.status, answer.json["failed"]) == (503, ["database", "slow"])
    failing.clear()
    assert (await call("GET", "/readyz", token="")).status == 200


async def test_metrics(call: Caller) -> None:
    answer = await call("GET", "/metrics", token="")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "# TYPE python_info gauge" in answer.text


def assert_secured(answer: Answer) -> None:
    assert answer.headers.getall("x-content-type-options") == ["nosniff"]
    assert answer.headers.getall("content-security-policy") == ["default-src 'none'; frame-ancestors 'none'"]
    assert answer.headers.getall("cache-control") == ["no-store"]


@pytest.mark.parametrize("path", ["/who", "/nowhere", "/refused", "/crash/ann", "/healthz", "/readyz"])
async def test_every_answer_of_data_is_secured(call: Caller, path: str) -> None:
    assert_secured(await call("GET", path))
