"""Errors as RFC 9457 problem details: a stable code, no stack trace, no secret."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.errors import DomainError, UpstreamError
from shared.http.bodies import ClientGone
from shared.telemetry import current_traceparent

log = logging.getLogger(__name__)

_CODES = {401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class Problem(DomainError):
    """A domain error with headers of its own, and a title where the status's phrase does not do."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        title: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extras: Any,
    ) -> None:
        super().__init__(code, status, detail, **extras)
        self.title = title
        self.headers = dict(headers or {})


def problem_body(status: int, code: str, detail: str, **extras: Any) -> dict[str, Any]:
    traceparent = current_traceparent()
    return {
        "type": f"urn:stowage:problem:{code}",
        "title": _phrase(status),
        "status": status,
        "detail": detail,
        "code": code,
        "trace_id": traceparent.split("-")[1] if traceparent else None,
        **extras,
    }


def problem_response(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **extras: Any
) -> Response:
    """Extras may hold ids, times and anything else that has a text."""
    body = orjson.dumps(problem_body(status, code, detail, **extras), default=str)
    return Response(body, status, headers=dict(headers or {}), media_type="application/problem+json")


def install(app: FastAPI) -> None:
    app.add_exception_handler(DomainError, _domain)
    app.add_exception_handler(UpstreamError, _upstream)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientGone, _gone)
    app.add_exception_handler(Exception, _unexpected)


async def answer_to(request: Request, error: Exception) -> Response:
    """What an application answers when this is raised."""
    known = request.app.exception_handlers
    handle = next((known[kind] for kind in type(error).__mro__ if kind in known), _unexpected)
    response: Response = await handle(request, error)
    return response


async def _domain(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError)  # noqa: S101 - registered for this type
    extras = dict(error.extras)
    if title := getattr(error, "title", None):
        extras["title"] = title
    return problem_response(error.status, error.code, error.detail, headers=getattr(error, "headers", None), **extras)


async def _upstream(_request: Request, error: Exception) -> Response:
    log.warning("another service failed: %s", error)
    return problem_response(503, "upstream_unavailable", "A part of the service does not answer; try again.")


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    # The input itself is not echoed: it may be a password.
    errors = [{"field": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()[:20]]
    return problem_response(422, "invalid_request", "The request is not well formed.", errors=errors)


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    code = _CODES.get(error.status_code, "request_refused")
    return problem_response(error.status_code, code, str(error.detail), headers=error.headers)


async def _gone(_request: Request, _error: Exception) -> Response:
    # Nobody reads this answer.
    return problem_response(400, "incomplete_body", "The body ended early.", headers={"connection": "close"})


async def _unexpected(request: Request, error: Exception) -> Response:
    # The route, not the path: a path may name a person.
    route = getattr(request.scope.get("route"), "path", "an unknown path")
    log.error("%s %s failed", request.method, route, exc_info=error)
    return problem_response(500, "internal_error", "Something went wrong on our side.")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"
