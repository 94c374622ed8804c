"""Browsers' question whether a page of another origin may use the API (CORS), answered for all services at once."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.door.answers import answer_problem
from services.gateway.door.arrival import find
from services.gateway.errors import OriginNotAllowed
from services.gateway.proxy.headers import Headers

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
# What a page may read of an answer, beside what it always may. tus-js-client needs the Upload- and Tus- ones.
EXPOSED = (
    b"Location, ETag, X-File-Id, Retry-After, Content-Range, Accept-Ranges, Content-Disposition, Content-Digest, "
    b"Repr-Digest, WWW-Authenticate, Upload-Offset, Upload-Length, Upload-Defer-Length, Upload-Metadata, "
    b"Upload-Expires, Upload-Concat, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm"
)
REMEMBER = b"7200"  # seconds a browser keeps the answer; none keeps it longer


class Cors:
    """Around the door, so that its refusals can be read as well. `origins`: those that may send cookies, too; `*` lets
    every other one use the API without them.
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        origin = find(scope["headers"], b"origin")
        allowed = self._allow(origin)
        if origin is not None and _is_preflight(scope):
            await self._answer(scope, receive, send, allowed)
        else:
            await self._app(scope, receive, _adding(send, [*allowed, *self._varies()]))

    def _allow(self, origin: str | None) -> Headers:
        said = (origin or "").encode("latin-1")
        if said and said in self._origins:
            return [
                (b"access-control-allow-origin", said),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", EXPOSED),
            ]
        if said and b"*" in self._origins:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
        return []

    def _varies(self) -> Headers:
        return [(b"vary", b"Origin")] if self._origins else []

    async def _answer(self, scope: Scope, receive: Receive, send: Send, allowed: Headers) -> None:
        """No service is asked: whether the address exists is not part of the question."""
        if not allowed:
            await answer_problem(OriginNotAllowed(), scope, receive, _adding(send, self._varies()))
            return
        asked = find(scope["headers"], b"access-control-request-headers") or ""
        headers = [
            *allowed,
            *self._varies(),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", asked.encode("latin-1")),
            (b"access-control-max-age", REMEMBER),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and find(scope["headers"], b"access-control-request-method") is not None


def _adding(send: Send, own: Headers) -> Send:
    """What a service says of other origins itself is not for it to say."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            theirs = [pair for pair in message.get("headers", ()) if not pair[0].startswith(b"access-control-")]
            message["headers"] = [*theirs, *own]
        await send(message)

    return sending
