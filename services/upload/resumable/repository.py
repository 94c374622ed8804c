"""All SQL on uploads in pieces. Runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.upload.resumable.models import ResumableUpload

DEAD = timedelta(seconds=5)  # a lease without a beat for so long is nobody's

_INSERT = """
    INSERT INTO resumable_upload (id, tenant_id, user_id, location, length, upload_offset, state, said, concat,
        finished, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_FREE = "(lease IS NULL OR beat < now() - $3::interval)"
# What is not waited for cannot be lost: after a crash of the database the lease is simply nobody's.
_CLAIM = f"""
    UPDATE resumable_upload SET lease = $2, beat = now(), wanted = false
    WHERE id = $1 AND {_FREE} AND expires_at > now() AND (NOT finished OR concat = 'partial')
    RETURNING *, set_config('synchronous_commit', 'off', true) AS relaxed
"""
_FIND = "SELECT * FROM resumable_upload WHERE id = $1 AND ($2::boolean OR expires_at > now())"
_WANT = "UPDATE resumable_upload SET wanted = true WHERE id = $1 AND lease IS NOT NULL"
_BEAT = """
    UPDATE resumable_upload SET beat = now() WHERE id = $1 AND lease = $2
    RETURNING wanted, set_config('synchronous_commit', 'off', true) AS relaxed
"""
# A process that slept through its lease changes nothing: the row is another's by then.
_SAVE = """
    UPDATE resumable_upload SET upload_offset = $3, length = $4, state = $5, expires_at = $6, finished = $7,
        beat = now(), lease = CASE WHEN $8::boolean THEN NULL ELSE lease END
    WHERE id = $1 AND lease = $2 RETURNING 1
"""
_RELEASE = "UPDATE resumable_upload SET lease = NULL WHERE id = $1 AND lease = $2"
_DELETE = "DELETE FROM resumable_upload WHERE id = ANY($1::uuid[])"
_EXPIRED = """
    UPDATE resumable_upload SET lease = $1, beat = now() WHERE id IN (
        SELECT id FROM resumable_upload WHERE expires_at < now() AND (lease IS NULL OR beat < now() - $2::interval)
        ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED
    ) RETURNING *
"""


async def insert(connection: Any, upload: ResumableUpload) -> None:
    await connection.execute(
        _INSERT,
        upload.id,
        upload.tenant_id,
        upload.user_id,
        upload.location,
        upload.length,
        upload.upload_offset,
        upload.state,
        upload.said,
        upload.concat,
        upload.finished,
        upload.expires_at,
    )


async def find(connection: Any, upload_id: UUID, *, expired: bool = False) -> ResumableUpload | None:
    return _upload(await connection.fetchrow(_FIND, upload_id, expired))


async def claim(connection: Any, upload_id: UUID, lease: UUID) -> ResumableUpload | None:
    """None while another request has it, and for what is finished, expired or not there."""
    return _upload(await connection.fetchrow(_CLAIM, upload_id, lease, DEAD))


async def want(connection: Any, upload_id: UUID) -> None:
    """Whoever has it will notice with the next beat."""
    await connection.execute(_WANT, upload_id)


async def beat(connection: Any, upload_id: UUID, lease: UUID) -> bool | None:
    """Whether another request waits; None when the lease is lost."""
    wanted: bool | None = await connection.fetchval(_BEAT, upload_id, lease)
    return wanted


async def save(connection: Any, upload: ResumableUpload, lease: UUID, *, release: bool) -> bool:
    """What is safe by now. False when the lease is lost, and nothing was written."""
    return bool(
        await connection.fetchval(
            _SAVE,
            upload.id,
            lease,
            upload.upload_offset,
            upload.length,
            upload.state,
            upload.expires_at,
            upload.finished,
            release,
        )
    )


async def release(connection: Any, upload_id: UUID, lease: UUID) -> None:
    await connection.execute(_RELEASE, upload_id, lease)


async def delete(connection: Any, uploads: Sequence[UUID]) -> None:
    await connection.execute(_DELETE, list(uploads))


async def claim_expired(connection: Any, lease: UUID, limit: int) -> list[ResumableUpload]:
    """Of all tenants, for the worker. Requests do not claim what has expired."""
    return [_read(row) for row in await connection.fetch(_EXPIRED, lease, DEAD, limit)]


def _upload(row: Any | None) -> ResumableUpload | None:
    return None if row is None else _read(row)


def _read(row: Any) -> ResumableUpload:
    return ResumableUpload.model_validate(dict(row))
