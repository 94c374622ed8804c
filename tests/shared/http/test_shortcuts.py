"""Addresses that pass the framework by answer as if they did not."""

import io
import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from shared.errors import DomainError
from shared.http import ClientGone, Shortcut, create_app, member_of_tenant
from shared.http.app import MAX_BODY
from tests.services.billing.serving import served
from tests.shared.http.test_app import PASSWORD, Caller, assert_problem, complaints, settings

router = APIRouter()


@router.get("/short")
@router.get("/below/{path:path}")
async def declared(request: Request) -> dict[str, str]:
    return {"way": "long", "path": request.url.path}


async def short(request: Request) -> Response:
    return JSONResponse({"way": "short", "path": request.url.path, "length": len(await request.body())})


async def refuse(_request: Request) -> Response:
    raise DomainError("quota_exceeded", 413, "No room is left.", free=0)


async def crash(_request: Request) -> Response:
    raise RuntimeError(f"the password is {PASSWORD}")


async def leave(_request: Request) -> Response:
    raise ClientGone


async def ask(request: Request) -> Response:
    who, tenant = await member_of_tenant(request)
    return JSONResponse({"kind": who.kind, "tenant": str(tenant)})


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    shortcuts = [
        Shortcut("POST", "/short", short),
        Shortcut("PUT", "/below/{path}", short),
        Shortcut("GET", "/refused", refuse),
        Shortcut("GET", "/crash", crash),
        Shortcut("GET", "/left", leave),
        Shortcut("GET", "/who", ask),
    ]
    app = create_app(settings(), title="Sample", routers=[router], shortcuts=shortcuts)
    async with served(app) as url, aiohttp.ClientSession() as http:
        yield Caller(url, http)


@pytest.mark.parametrize(
    ("method", "path", "way"),
    [
        ("POST", "/short", "short"),
        ("GET", "/short", "long"),
        ("PUT", "/below/a/b", "short"),
        ("PUT", "/below/", "short"),
        ("GET", "/below/a", "long"),
    ],
)
async def test_by_method_and_path(call: Caller, method: str, path: str, way: str) -> None:
    answer = await call(method, path)
    assert (answer.status, answer.json["way"], answer.json["path"]) == (200, way, path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_its_body_has_no_limit(call: Caller) -> None:
    assert (await call("POST", "/short", data=io.BytesIO(bytes(2 * MAX_BODY)))).json["length"] == 2 * MAX_BODY


@pytest.mark.parametrize("path", ["/shor", "/short/", "/below"])
async def test_nothing_else_is_caught(call: Caller, path: str) -> None:
    assert_problem(await call("POST", path), 404, "not_found")


async def test_nobody_unknown_is_answered(call: Caller) -> None:
    assert_problem(await call("POST", "/short", token=""), 401, "internal_token_required")


async def test_who_belongs_to_no_tenant(call: Caller) -> None:
    assert_problem(await call("GET", "/who"), 403, "tenant_required")


async def test_errors_become_problems(call: Caller, caplog: pytest.LogCaptureFixture) -> None:
    assert assert_problem(await call("GET", "/refused"), 413, "quota_exceeded")["free"] == 0
    assert_problem(await call("GET", "/left"), 400, "incomplete_body")
    assert complaints(caplog) == []
    assert_problem(await call("GET", "/crash"), 500, "internal_error")
    assert [(record.levelno, record.getMessage()) for record in complaints(caplog)] == [
        (logging.ERROR, "GET /crash failed")
    ]
