"""Answering before the request's body was read, without losing the answer on the way.

A server that closes a connection on which unread bytes wait makes the kernel reset it, and a reset can overtake the
answer. So: say `Connection: close`, send the whole answer, read on for a moment, then close.
"""

import asyncio
from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_SECONDS = 2.0
LINGER_BYTES = 32 * 1024 * 1024
SKIPPED = 64 * 1024  # bytes of an unwanted body that are cheaper to read than a new connection

_CLOSE = (b"connection", b"close")


class LingeringClose:
    """Outermost, so that it sees what everybody inside has read and answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope["headers"]):
            await self._app(scope, receive, send)
            return
        talk = _Talk(scope, receive, send)
        await self._app(scope, talk.receive, talk.send)


class _Talk:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._waits = any(name == b"expect" for name, _ in scope["headers"])  # for 100 Continue, and has sent nothing
        self._skipped = not self._waits and _is_small(scope["headers"])  # by the server: the connection can live on
        self._read_all = False
        self._closing = False

    async def receive(self) -> Message:
        self._waits = False  # the server sends 100 Continue now
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._read_all = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._read_all:
            self._closing = not self._skipped or _CLOSE in message.get("headers", ())
            if self._closing:
                _say_close(message)
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and self._closing and not self._waits and not self._read_all:
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _linger(self) -> None:
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and not self._read_all:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def _say_close(message: MutableMapping[str, Any]) -> None:
    headers = [(name, value) for name, value in message.get("headers", []) if name.lower() != b"connection"]
    message["headers"] = [*headers, _CLOSE]


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers
    )


def _is_small(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """It is known how many bytes come, and they are few."""
    length = dict(headers).get(b"content-length", b"")
    return length.isdigit() and int(length[:18]) <= SKIPPED
