"""All SQL on tasks. A task belongs to whoever set its `due_at` last: that moment is the token of the claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

ERROR_CHARACTERS = 500

# Two workers pass by each other's rows, and no lock is held while a task is worked on.
_CLAIM = """
    UPDATE file_task AS t SET due_at = now() + $1::interval, attempts = t.attempts + 1
    FROM (
        SELECT file_id, kind FROM file_task WHERE due_at <= now() AND kind = ANY($2::text[])
        ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
    ) AS next
    WHERE t.file_id = next.file_id AND t.kind = next.kind
    RETURNING t.tenant_id, t.file_id, t.kind, t.attempts, t.due_at
"""
_MINE = "file_id = $1 AND kind = $2 AND due_at = $3"
_PROLONG = f"UPDATE file_task SET due_at = now() + $4::interval WHERE {_MINE} RETURNING due_at"
_PUT_OFF = f"UPDATE file_task SET due_at = now() + $4::interval, error = $5 WHERE {_MINE}"
_GIVE_BACK = f"UPDATE file_task SET due_at = now(), attempts = attempts - 1 WHERE {_MINE}"
_REMOVE = f"DELETE FROM file_task WHERE {_MINE}"
_COUNT = "SELECT kind, count(*) AS waiting FROM file_task GROUP BY kind"


@dataclass(slots=True)
class Claim:
    """One task in hand until `until`, the `attempts`th time."""

    tenant: UUID
    file: UUID
    kind: str
    attempts: int
    until: datetime

    @property
    def key(self) -> tuple[UUID, str, datetime]:
        return self.file, self.kind, self.until


async def claim(connection: Any, kinds: Sequence[str], lease: timedelta, limit: int) -> list[Claim]:
    """Those that have waited longest."""
    return [Claim(*row) for row in await connection.fetch(_CLAIM, lease, kinds, limit)]


async def prolong(connection: Any, claim: Claim, lease: timedelta) -> bool:
    """False when it is somebody else's by now, or gone with its file."""
    until = await connection.fetchval(_PROLONG, *claim.key, lease)
    claim.until = until or claim.until
    return until is not None


async def put_off(connection: Any, claim: Claim, pause: timedelta, error: str) -> None:
    # PostgreSQL's text holds no NUL.
    await connection.execute(_PUT_OFF, *claim.key, pause, error.replace("\0", "")[:ERROR_CHARACTERS])


async def give_back(connection: Any, claim: Claim) -> None:
    """As if it had never been taken."""
    await connection.execute(_GIVE_BACK, *claim.key)


async def remove(connection: Any, claim: Claim) -> None:
    """It is done. A task set anew meanwhile, for the file's next bytes, stays."""
    await connection.execute(_REMOVE, *claim.key)


async def count(connection: Any) -> dict[str, int]:
    """Tasks that are not done, by kind."""
    return {row["kind"]: row["waiting"] for row in await connection.fetch(_COUNT)}
