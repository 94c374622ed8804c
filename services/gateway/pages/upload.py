"""Uploading without JavaScript: the form's multipart body goes to upload as it comes, and a page comes back."""

from urllib.parse import parse_qs

import orjson
from starlette.types import Message, Scope, Send

from services.gateway.errors import CsrfFailed
from services.gateway.identity.visitors import Visitor, form_token_holds
from services.gateway.pages.rules import code_of_refusal

PATH = "/app/upload"
MAX_ANSWER = 64 * 1024  # bytes of upload's answer that are looked at


def check_form(key: bytes, visitor: Visitor, scope: Scope) -> None:
    """The token stands in the address: in a field it would lie behind or inside the file. Raises CsrfFailed."""
    token = parse_qs(scope["query_string"].decode("latin-1")).get("csrf", [""])[0]
    if not form_token_holds(key, visitor, token):
        raise CsrfFailed


class PageAnswer:
    """Takes upload's JSON answer and sends the browser back to its page with a message."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 0
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            return
        if len(self._body) < MAX_ANSWER:
            self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await see_other(self._send, f"/app?notice={self._code()}")

    def _code(self) -> str:
        if self._status == 201:
            return "uploaded"
        try:
            code = orjson.loads(bytes(self._body)).get("code")
        except (orjson.JSONDecodeError, AttributeError):
            code = None
        return code_of_refusal(self._status, code)


async def see_other(send: Send, location: str) -> None:
    headers = [(b"location", location.encode()), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
