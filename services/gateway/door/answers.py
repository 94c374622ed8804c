"""A refusal at the door, in the same words as everywhere else."""

import math
from http import HTTPStatus

import orjson
from starlette.types import Receive, Scope, Send

from services.gateway.errors import TooManyRequests
from shared.errors import DomainError
from shared.telemetry import current_traceparent


async def answer_problem(error: DomainError, scope: Scope, receive: Receive, send: Send) -> None:
    """RFC 9457. Reads nothing of the request's body."""
    del receive
    traceparent = current_traceparent()
    body = orjson.dumps(
        {
            "type": "about:blank",
            "title": HTTPStatus(error.status).phrase,
            "status": error.status,
            "detail": error.detail,
            "code": error.code,
            "trace_id": traceparent.split("-")[1] if traceparent else None,
            **error.extras,
        }
    )
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body)), *headers_of(error)]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def headers_of(error: DomainError) -> list[tuple[bytes, bytes]]:
    headers = [(b"cache-control", b"no-store")]
    if isinstance(error, TooManyRequests):
        headers.append((b"retry-after", b"%d" % math.ceil(error.wait)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="stowage"'))
    return headers
