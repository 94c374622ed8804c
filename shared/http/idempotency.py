"""`Idempotency-Key` on JSON POSTs: the same request again gets the same answer, and happens once.

The key belongs to who asks and what is asked. A request that is still running is 409, the same key with another body
422; an answer of 5xx is not kept, so the client may try again. Rows live a day.
"""

import hashlib
from typing import Any

from alembic import op
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.db import Database
from shared.db.rls import open_table
from shared.http.app import MAX_BODY
from shared.http.problems import problem_response
from shared.security import Principal

ABANDONED = "60 seconds"  # a running request whose process died may be taken over after this


def create_table() -> None:
    """Inside a migration. Rows are found by a scope that contains the tenant or user, never listed."""
    op.execute(
        """
        CREATE TABLE idempotency_key (
            scope text NOT NULL,
            key text NOT NULL,
            body_hash bytea NOT NULL,
            started_at timestamptz NOT NULL DEFAULT now(),
            status int,
            headers jsonb,
            body bytea,
            PRIMARY KEY (scope, key)
        )
        """
    )
    open_table("idempotency_key")


_CLAIM = f"""
    INSERT INTO idempotency_key AS k (scope, key, body_hash) VALUES ($1, $2, $3)
    ON CONFLICT (scope, key) DO UPDATE SET body_hash = excluded.body_hash, started_at = now(), status = NULL
    WHERE k.started_at < now() - interval '1 day'
       OR (k.status IS NULL AND k.started_at < now() - interval '{ABANDONED}' AND k.body_hash = excluded.body_hash)
    RETURNING 1
"""
_FIND = "SELECT body_hash, status, headers, body FROM idempotency_key WHERE scope = $1 AND key = $2"
_KEEP = "UPDATE idempotency_key SET status = $3, headers = $4, body = $5 WHERE scope = $1 AND key = $2"
_FORGET = "DELETE FROM idempotency_key WHERE scope = $1 AND key = $2"
_SWEEP = "DELETE FROM idempotency_key WHERE started_at < now() - interval '1 day'"


async def sweep(database: Database) -> None:
    """A job's work: forgets keys older than a day."""
    async with database.transaction() as connection:
        await connection.execute(_SWEEP)


class Idempotency:
    """Wraps the application inside the middleware that set the principal. Touches JSON POSTs that bring a key."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self._app = app
        self._database = database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = Headers(scope=scope).get("idempotency-key") if _concerned(scope) else None
        if key is None:
            await self._app(scope, receive, send)
            return
        if not 1 <= len(key) <= 255:
            await problem_response(422, "invalid_idempotency_key", "1 to 255 characters.")(scope, receive, send)
            return
        body = await _whole(receive)
        if body is None:
            return  # nobody is left to answer, and half a request is none
        if len(body) > MAX_BODY:
            await problem_response(413, "body_too_large", "The body is too large.")(scope, receive, send)
            return
        await self._once(_owner(scope), key, body, scope, send)

    async def _once(self, owner: str, key: str, body: bytes, scope: Scope, send: Send) -> None:
        digest = hashlib.sha256(body).digest()
        async with self._database.acquire() as connection:
            claimed = await connection.fetchval(_CLAIM, owner, key, digest)
            known = None if claimed else await connection.fetchrow(_FIND, owner, key)
        if not claimed:
            await _replay(known, digest, scope, send)
            return
        answer = _Answer()
        try:
            await self._app(scope, _again(body), answer.keep)
        finally:
            # Kept before it is sent: who has the answer and asks again finds it.
            try:
                await self._settle(owner, key, answer)
            finally:
                await answer.send(send)

    async def _settle(self, owner: str, key: str, answer: "_Answer") -> None:
        async with self._database.acquire() as connection:
            if answer.complete and answer.status < 500:
                await connection.execute(_KEEP, owner, key, answer.status, answer.headers, bytes(answer.body))
            else:
                await connection.execute(_FORGET, owner, key)


class _Answer:
    """Holds an answer back."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self.status = 500
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False

    async def keep(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(MutableHeaders(scope=message).items())
        else:
            self.body += message.get("body", b"")
            self.complete = not message.get("more_body", False)
        self._messages.append(message)

    async def send(self, send: Send) -> None:
        """Nothing of half an answer: whoever handles the error may still send a whole one."""
        for message in self._messages if self.complete else ():
            await send(message)


def _concerned(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    return Headers(scope=scope).get("content-type", "application/json").startswith("application/json")


def _owner(scope: Scope) -> str:
    principal = scope.get("state", {}).get("principal") or Principal()
    return f"{principal.tenant_id} {principal.user_id} {scope['path']}"


async def _whole(receive: Receive) -> bytes | None:
    """None when the client has gone before its end."""
    body = bytearray()
    while len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


def _again(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _replay(known: Any | None, digest: bytes, scope: Scope, send: Send) -> None:
    if known is None or (known["body_hash"] == digest and known["status"] is None):
        # None: the first one failed and was forgotten a moment ago. The next try may claim it.
        response = problem_response(409, "idempotency_in_progress", "The first request is still running.")
        await response(scope, _again(b""), send)
    elif known["body_hash"] != digest:
        response = problem_response(422, "idempotency_key_reused", "This key was used for another request.")
        await response(scope, _again(b""), send)
    else:
        headers = {**known["headers"], "idempotent-replayed": "true"}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": known["status"], "headers": raw})
        await send({"type": "http.response.body", "body": known["body"]})
