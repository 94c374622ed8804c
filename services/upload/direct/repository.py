"""All SQL of direct uploads. Runs inside the caller's transaction, which sees one tenant or, in the worker, all."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.upload.direct.models import DirectUpload, State

LEASE = timedelta(seconds=60)  # how long a completion that gives no sign of life is believed to go on
GRACE = timedelta(seconds=60)  # a request begun before its URL expired may end after it

_COLUMNS = """id, tenant_id, user_id, size, sha256, place, location, staged, path, backend, part_size, collects,
    lifetime, expires_at"""
_INSERT = f"""
    INSERT INTO direct_upload ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""
# Time is the database's: several processes must mean the same by it.
_CLAIM = """
    UPDATE direct_upload SET state = 'completing', attempt = attempt + 1, lease = now() + $2
    WHERE id = $1 AND (state = 'open' OR (state = 'completing' AND lease < now())) RETURNING *
"""
_RENEW = """
    UPDATE direct_upload SET lease = now() + $3,
        expires_at = greatest(expires_at, now() + lifetime * interval '1 second')
    WHERE id = $1 AND attempt = $2 AND state = 'completing' RETURNING true
"""
_END = """
    UPDATE direct_upload SET state = $3, problem = $4, lease = NULL
    WHERE id = $1 AND attempt = $2 AND state = 'completing' RETURNING true
"""
_ABORT = """
    UPDATE direct_upload SET state = 'aborted', lease = NULL
    WHERE id = $1 AND (state = 'open' OR (state = 'completing' AND lease < now())) RETURNING true
"""
_PROLONG = """
    UPDATE direct_upload SET expires_at = greatest(expires_at, now() + lifetime * interval '1 second')
    WHERE id = $1 AND state = 'open' RETURNING *
"""
_STAGE = "UPDATE direct_upload SET staged = $2 WHERE id = $1 AND state = 'open' RETURNING old.staged"
_EXPIRE = """
    UPDATE direct_upload SET state = CASE state WHEN 'stored' THEN 'stored' ELSE 'expired' END
    WHERE id IN (
        SELECT id FROM direct_upload WHERE expires_at < now() - $1::interval AND coalesce(lease, '-infinity') < now()
        ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED
    ) RETURNING *
"""
_COLLECTED = """
    UPDATE direct_upload SET looked_at = now() WHERE id IN (
        SELECT id FROM direct_upload
        WHERE collects AND state IN ('open', 'completing') AND coalesce(lease, '-infinity') < now()
        ORDER BY looked_at LIMIT 100 FOR UPDATE SKIP LOCKED
    ) RETURNING *
"""


async def insert(connection: Any, upload: DirectUpload) -> None:
    await connection.execute(
        _INSERT,
        upload.id,
        upload.tenant_id,
        upload.user_id,
        upload.size,
        upload.sha256,
        upload.place,
        upload.location,
        upload.staged,
        upload.path,
        upload.backend,
        upload.part_size,
        upload.collects,
        upload.lifetime,
        upload.expires_at,
    )


async def find(connection: Any, upload: UUID) -> DirectUpload | None:
    return _read(await connection.fetchrow("SELECT * FROM direct_upload WHERE id = $1", upload))


async def claim(connection: Any, upload: UUID) -> DirectUpload | None:
    """None when somebody else is at it, or it has ended."""
    return _read(await connection.fetchrow(_CLAIM, upload, LEASE))


async def renew(connection: Any, upload: UUID, attempt: int) -> bool:
    """False when this attempt was believed dead and another one has taken its place."""
    return bool(await connection.fetchval(_RENEW, upload, attempt, LEASE))


async def end(
    connection: Any, upload: UUID, attempt: int, state: State, problem: Mapping[str, Any] | None = None
) -> bool:
    """Of an attempt. False, and nothing happens, when it is no longer the last one."""
    return bool(await connection.fetchval(_END, upload, attempt, state, problem))


async def abort(connection: Any, upload: UUID) -> bool:
    """False when it is being completed, or has ended."""
    return bool(await connection.fetchval(_ABORT, upload))


async def prolong(connection: Any, upload: UUID) -> DirectUpload | None:
    """A sign of life. None unless it is open."""
    return _read(await connection.fetchrow(_PROLONG, upload))


async def stage(connection: Any, upload: UUID, staged: str) -> str | None:
    """Where its bytes are from now on; where they were before. None unless it is open."""
    found: str | None = await connection.fetchval(_STAGE, upload, staged)
    return found


async def expire(connection: Any) -> list[DirectUpload]:
    """Those of which no URL is good any more, of all tenants; nobody may complete them from now on."""
    return [DirectUpload.read(row) for row in await connection.fetch(_EXPIRE, GRACE)]


async def list_collected(connection: Any) -> list[DirectUpload]:
    """Those whose client will not say that it is done, of all tenants; first those nobody has looked at for longest."""
    return [DirectUpload.read(row) for row in await connection.fetch(_COLLECTED)]


async def list_known(connection: Any, uploads: list[UUID]) -> set[UUID]:
    rows = await connection.fetch("SELECT id FROM direct_upload WHERE id = ANY($1::uuid[])", uploads)
    return {row["id"] for row in rows}


async def delete(connection: Any, upload: UUID) -> None:
    await connection.execute("DELETE FROM direct_upload WHERE id = $1", upload)


def expiry(now: datetime, lifetime: int) -> datetime:
    return now + timedelta(seconds=lifetime)


def _read(row: Any) -> DirectUpload | None:
    return None if row is None else DirectUpload.read(row)
