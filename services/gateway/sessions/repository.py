"""All SQL on sessions and refresh tokens. Runs inside the caller's transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

from services.gateway.sessions.rules import Session


class SessionRepository:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def insert(self, session: Session, at: datetime) -> None:
        await self._connection.execute(
            "INSERT INTO session (id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
            session.id,
            session.user_id,
            at,
            session.expires_at,
        )

    async def insert_token(self, digest: bytes, session: UUID, at: datetime) -> None:
        await self._connection.execute(
            "INSERT INTO refresh_token (digest, session_id, created_at) VALUES ($1, $2, $3)", digest, session, at
        )

    async def lock_of_token(self, digest: bytes) -> Session | None:
        """The token's session, locked: whoever uses a token of the same family waits for this commit."""
        row = await self._connection.fetchrow(
            "SELECT id, user_id, expires_at, ended_at FROM session "
            "WHERE id = (SELECT session_id FROM refresh_token WHERE digest = $1) FOR UPDATE",
            digest,
        )
        return None if row is None else Session(*row.values())

    async def get_used_at(self, digest: bytes) -> datetime | None:
        """To be read in a statement after the lock: an earlier one may have seen the token before its twin used it."""
        found: datetime | None = await self._connection.fetchval(
            "SELECT used_at FROM refresh_token WHERE digest = $1", digest
        )
        return found

    async def mark_used(self, digest: bytes, at: datetime) -> None:
        await self._connection.execute("UPDATE refresh_token SET used_at = $2 WHERE digest = $1", digest, at)

    async def end(self, session: UUID, reason: str, at: datetime) -> None:
        await self._connection.execute(
            "UPDATE session SET ended_at = $3, end_reason = $2 WHERE id = $1 AND ended_at IS NULL", session, reason, at
        )

    async def is_live(self, session: UUID, now: datetime) -> bool:
        found = await self._connection.fetchval(
            "SELECT true FROM session WHERE id = $1 AND ended_at IS NULL AND expires_at > $2", session, now
        )
        return found is True

    async def delete_expired(self, before: datetime) -> None:
        """Tokens go with their session."""
        await self._connection.execute("DELETE FROM session WHERE expires_at < $1", before)
