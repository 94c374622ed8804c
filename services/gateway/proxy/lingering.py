"""Answering before the request's body was read, without losing the answer on the way.

A server that closes a connection on which unread bytes wait makes the kernel reset it, and a reset can overtake the
answer. So: say `Connection: close`, send the whole answer, read on for a moment, then close.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.proxy.headers import EXPECT_ABOVE, MalformedRequest, body_length

LINGER_SECONDS = 2.0
LINGER_BYTES = 32 * 1024 * 1024


class LingeringClose:
    """Outermost, so that it sees what everybody inside has read and answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _may_leave_body(scope):
            await self._app(scope, receive, send)
            return
        talk = _Talk(scope, receive, send)
        await self._app(scope, talk.receive, talk.send)


class _Talk:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._asked = not any(name == b"expect" for name, _ in scope["headers"])
        self._read_all = False
        self._closing = False

    async def receive(self) -> Message:
        self._asked = True  # the server sends 100 Continue now
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._read_all = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._read_all:
            self._closing = True
            _say_close(message)
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        # A client that waits for 100 Continue has sent nothing: there is nothing to read away.
        if last and self._closing and self._asked and not self._read_all:
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
    message["headers"] = [*headers, (b"connection", b"close")]


def _may_leave_body(scope: Scope) -> bool:
    """A small body that nobody reads is skipped by the server itself, and the connection lives on."""
    try:
        length = body_length(scope["headers"])
    except MalformedRequest:
        return True
    return length is None or length > EXPECT_ABOVE or (length > 0 and any(n == b"expect" for n, _ in scope["headers"]))
