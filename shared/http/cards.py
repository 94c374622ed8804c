"""Refuses requests that hold a card number, in whatever field. What was refused is neither logged nor traced."""

from collections.abc import Callable, Iterable
from urllib.parse import unquote_plus

import orjson
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import DomainError
from shared.http.app import MAX_BODY
from shared.http.problems import problem_response
from shared.security.cards import has_card_number, holds_card_number

# Made by machines: tokens, ids of traces, signatures, lengths. Digits in a row mean nothing there.
_NOT_READ = frozenset(
    {
        *(b"authorization", b"cookie", b"stowage-internal", b"stowage-client-address", b"traceparent", b"tracestate"),
        *(b"content-length", b"content-type", b"host", b"webhook-signature", b"stripe-signature", b"if-none-match"),
    }
)


class CardNumberRefused(DomainError):
    def __init__(self) -> None:
        super().__init__(
            "card_number_refused", 422, "Card numbers are not taken here: they are for the provider's page alone."
        )


class CardGuard:
    """Outside of everything that logs or traces. Of bodies it reads whole ones of at most a JSON body's size; with
    `files` only JSON and plain forms. What is `passing` looks after itself.
    """

    def __init__(self, app: ASGIApp, *, passing: Callable[[str], bool], files: bool = False) -> None:
        self._app = app
        self._passing = passing
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._passing(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            check_head(scope["path"], scope["query_string"], scope["headers"])
            if scope["method"] not in {"GET", "HEAD", "OPTIONS"} and not self._is_file(scope):
                receive = await _checked(receive)
        except DomainError as error:
            refusal = problem_response(error.status, error.code, error.detail, headers={"connection": "close"})
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_file(self, scope: Scope) -> bool:
        said = Headers(scope=scope).get("content-type", "")
        return self._files and not said.startswith(("application/json", "application/x-www-form-urlencoded"))


def check_head(path: str, query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises CardNumberRefused."""
    if has_card_number(path) or has_card_number(unquote_plus(query.decode("latin-1"))):
        raise CardNumberRefused
    for name, value in headers:
        if name not in _NOT_READ and has_card_number(value.decode("latin-1")):
            raise CardNumberRefused


async def _checked(receive: Receive) -> Receive:
    """The body again, for the application. Raises CardNumberRefused."""
    messages: list[Message] = []
    body = bytearray()
    while True:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        if len(body) > MAX_BODY or message["type"] == "http.disconnect" or not message.get("more_body", False):
            break
    # One that is larger is refused further in, for its size.
    if len(body) <= MAX_BODY and in_body(bytes(body)):
        raise CardNumberRefused
    waiting = iter(messages)

    async def again() -> Message:
        return next(waiting, None) or await receive()

    return again


def in_body(body: bytes) -> bool:
    """JSON is read, for it has other ways to write a digit; anything else is text, perhaps a form's."""
    try:
        return holds_card_number(orjson.loads(body))
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace")
        return has_card_number(text) or has_card_number(unquote_plus(text))
