"""All SQL on links. Runs inside the caller's transaction, which sees one tenant."""

from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.links.models import FileLink

FAILURES = 10  # wrong passwords before a link is locked
LOCKED = 900  # seconds

_INSERT = """
    INSERT INTO file_link (id, tenant_id, file_id, kept, disposition, password_hash, max_uses, created_by, created_at,
        expires_at)
    VALUES ($1, $2, $3, true, $4, $5, $6, $7, $8, $9)
"""
_FIND = "SELECT to_jsonb(l) FROM file_link AS l WHERE id = $1"
_PAGE = """
    SELECT to_jsonb(l) AS link FROM file_link AS l
    WHERE ($1::uuid IS NULL OR file_id = $1) AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
    ORDER BY created_at DESC, id DESC LIMIT $4
"""
_REVOKE = "UPDATE file_link SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING 1"
_REVOKE_ROWLESS = """
    INSERT INTO file_link (id, tenant_id, kept, expires_at, revoked_at) VALUES ($1, $2, false, $3, $4)
    ON CONFLICT (id) DO UPDATE SET revoked_at = coalesce(file_link.revoked_at, excluded.revoked_at)
"""
# Every use pays for the file once more: whoever was cut off may go on where it stopped.
_CONTINUE = """
    UPDATE file_link SET continued = continued + $2
    WHERE id = $1 AND revoked_at IS NULL AND continued + $2 <= uses * $3::bigint RETURNING 1
"""
_USE = """
    UPDATE file_link SET uses = uses + 1
    WHERE id = $1 AND revoked_at IS NULL AND (max_uses IS NULL OR uses < max_uses) RETURNING 1
"""
_SENT = """
    INSERT INTO file_link (id, tenant_id, file_id, kept, expires_at, bytes_sent, uses)
    VALUES ($1, $2, $3, false, $4, $5, 1)
    ON CONFLICT (id) DO UPDATE SET bytes_sent = file_link.bytes_sent + $5,
        continued = greatest(0, file_link.continued - $6),
        uses = file_link.uses + CASE WHEN file_link.kept THEN 0 ELSE 1 END
"""
_ATTEMPT = f"""
    UPDATE file_link SET failed_at = now(),
        failures = CASE WHEN failed_at > now() - interval '{LOCKED} seconds' THEN failures + 1 ELSE 1 END
    WHERE id = $1 AND (failures < {FAILURES} OR failed_at <= now() - interval '{LOCKED} seconds') RETURNING 1
"""
_PASSED = "UPDATE file_link SET failures = 0, failed_at = NULL WHERE id = $1"
_FORGET = "DELETE FROM file_link WHERE expires_at < now() - interval '30 days'"


async def insert(connection: Any, link: FileLink) -> None:
    await connection.execute(
        _INSERT,
        link.id,
        link.tenant_id,
        link.file_id,
        link.disposition,
        link.password_hash,
        link.max_uses,
        link.created_by,
        link.created_at,
        link.expires_at,
    )


async def find(connection: Any, link: UUID) -> FileLink | None:
    row = await connection.fetchval(_FIND, link)
    return None if row is None else FileLink.model_validate(row)


async def list_newest(
    connection: Any, limit: int, after: tuple[datetime, UUID] | None, file: UUID | None
) -> list[FileLink]:
    at, link = after or (None, None)
    return [FileLink.model_validate(row["link"]) for row in await connection.fetch(_PAGE, file, at, link, limit)]


async def revoke(connection: Any, link: UUID, now: datetime) -> bool:
    """False when there is no such row."""
    return await connection.fetchval(_REVOKE, link, now) is not None


async def revoke_rowless(connection: Any, link: UUID, tenant: UUID, until: datetime, now: datetime) -> None:
    await connection.execute(_REVOKE_ROWLESS, link, tenant, until, now)


async def continue_use(connection: Any, link: UUID, length: int, size: int) -> bool:
    """Whether the uses so far pay for `length` more bytes of a file of `size`."""
    return await connection.fetchval(_CONTINUE, link, length, size) is not None


async def use(connection: Any, link: UUID) -> bool:
    """Counts one more; False where none is left, or the link is revoked."""
    return await connection.fetchval(_USE, link) is not None


async def add_sent(
    connection: Any, tenant: UUID, link: UUID, file: UUID, until: datetime, sent: int, given_back: int
) -> None:
    """`given_back`: bytes of a continuation that were not sent after all."""
    await connection.execute(_SENT, link, tenant, file, until, sent, given_back)


async def attempt_password(connection: Any, link: UUID) -> bool:
    """Counts the attempt before it is judged; False when there were too many."""
    return await connection.fetchval(_ATTEMPT, link) is not None


async def pass_password(connection: Any, link: UUID) -> None:
    await connection.execute(_PASSED, link)


async def forget(connection: Any) -> None:
    """Links that expired a month ago; for the worker, who sees all tenants."""
    await connection.execute(_FORGET)
