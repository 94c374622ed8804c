"""The outermost layers of every service. Pure ASGI: bodies stream through untouched."""

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.problems import problem_response
from shared.http.rounds import Rounds
from shared.security import InvalidToken, verify
from shared.security.internal import HEADER
from shared.settings import ServiceSettings

HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})
_TOKEN = HEADER.encode()
_JSON = {  # data, never a page: not to be framed, run or kept by a cache on the way
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}


REQUESTS = 16  # begun before everybody else has a turn

_requests = Rounds(REQUESTS)


class InternalToken:
    """Refuses what no sister service vouches for, before a byte of the body is asked for."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._secret = settings.internal_secret
        self._audience = settings.service_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in HEALTH:
            try:
                principal = verify(_token(scope), secret=self._secret, audience=self._audience)
            except InvalidToken:
                refusal = problem_response(
                    401,
                    "internal_token_required",
                    "This address is not for the public.",
                    headers={"connection": "close"},
                )
                await refusal(scope, receive, send)
                return
            scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)


def _token(scope: Scope) -> str:
    """The one there is; two are as good as none."""
    found = [value for name, value in scope["headers"] if name == _TOKEN]
    return found[0].decode("latin-1") if len(found) == 1 else ""


class Edge:
    """Security headers on every answer, problems in one form, and each crash logged once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _requests.turn()
        answer = _Answer(scope, receive, send)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            # Logged by the handler that answered; raised again, the server would log it a second time.
            if not answer.complete:
                raise


class _Answer:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._replaced = False
        self.complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if _is_plain_413(message):
                await self._say_too_large()
                return
            _secure(message)
        elif self._replaced:
            return
        else:
            self.complete = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def _say_too_large(self) -> None:
        self._replaced = True
        # The rest of the body is not wanted, so neither is the connection.
        refusal = problem_response(
            413, "body_too_large", "The body is larger than this address takes.", headers={"connection": "close"}
        )
        await refusal(self._scope, self._receive, self._send_secured)
        self.complete = True

    async def _send_secured(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            _secure(message)
        await self._send(message)


def _is_plain_413(message: MutableMapping[str, Any]) -> bool:
    """The framework's body limit answers outside of all handlers, in plain text."""
    return message["status"] == 413 and any(
        name == b"content-type" and value.startswith(b"text/plain") for name, value in message.get("headers", ())
    )


def _secure(message: MutableMapping[str, Any]) -> None:
    headers = list(message.get("headers", ()))
    known = dict(headers)
    added = {b"x-content-type-options": b"nosniff"}
    if known.get(b"content-type", b"").startswith((b"application/json", b"application/problem+json")):
        added |= _JSON
    message["headers"] = headers + [(name, value) for name, value in added.items() if name not in known]
