"""All SQL on findings, and on what owns an object. Runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.blobs.store import Found
from services.upload.findings.models import Finding
from shared.ids import new_id

# A finding that is open already stays as old as it is.
_NOTE = """
    INSERT INTO storage_finding (id, tenant_id, kind, location, path, size)
    SELECT id, tenant_id, $1, $2, path, size FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::bigint[])
        AS t(id, tenant_id, path, size)
    ON CONFLICT (kind, location, path) WHERE ended_at IS NULL DO NOTHING RETURNING path
"""
_RIPE = """
    SELECT id, path, size FROM storage_finding
    WHERE kind = 'orphan' AND location = $1 AND ended_at IS NULL AND found_at < now() - make_interval(secs => $2)
      AND id > $3
    ORDER BY id LIMIT 1000
"""
_OPEN_MISSING = """
    SELECT id, location, path, size FROM storage_finding WHERE kind IN ('missing', 'damaged') AND ended_at IS NULL
    ORDER BY id LIMIT 1000
"""
_CLOSE = "UPDATE storage_finding SET ended_at = now(), outcome = $2 WHERE id = ANY($1::uuid[])"
_REMOVED = """
    INSERT INTO storage_finding (id, tenant_id, kind, location, path, size, ended_at, outcome)
    VALUES ($1, $2, 'abandoned', $3, $4, $5, now(), 'removed')
"""
_FORGET = "DELETE FROM storage_finding WHERE ended_at < now() - interval '90 days'"

# Bytes on their way to be deleted are known to be nobody's: they are no finding.
_OWNED = """
    SELECT path FROM stored_file WHERE location = $1 AND path = ANY($2::text[])
    UNION SELECT path FROM blob_garbage WHERE location = $1 AND path = ANY($2::text[])
"""
# Uploads, their parts and exports; the latter may take longer than a reservation lives.
_BUSY = """
    SELECT id FROM reservation WHERE id = ANY($1::uuid[])
    UNION SELECT id FROM resumable_upload WHERE id = ANY($1::uuid[])
    UNION SELECT upload_id FROM export WHERE upload_id = ANY($1::uuid[]) AND status = 'running'
"""
_RELOCATING = "SELECT EXISTS (SELECT FROM job_run WHERE name = 'relocation' AND ended_at IS NULL)"
_PAGE = """
    SELECT id, tenant_id, location, path, size FROM stored_file WHERE id > $1 ORDER BY id LIMIT $2
"""
_NEWEST = """
    SELECT id, tenant_id, kind, location, path, size, found_at, ended_at, outcome FROM storage_finding
    WHERE ($1::timestamptz IS NULL OR (found_at, id) < ($1, $2)) AND ($3::text IS NULL OR kind = $3)
      AND ($4::boolean IS NULL OR (ended_at IS NULL) = $4)
    ORDER BY found_at DESC, id DESC LIMIT $5
"""
_STILL = "SELECT 1 FROM stored_file WHERE location = $1 AND path = $2 AND size = $3"


async def note(connection: Any, kind: str, location: str, objects: Sequence[tuple[UUID | None, str, int]]) -> list[str]:
    """Tenant, path and size each. Returns the paths that were not known."""
    tenants, paths, sizes = zip(*objects, strict=True) if objects else ((), (), ())
    ids = [new_id() for _ in objects]
    rows = await connection.fetch(_NOTE, kind, location, ids, list(tenants), list(paths), list(sizes))
    return [row["path"] for row in rows]


async def list_newest(
    connection: Any, limit: int, after: tuple[datetime, UUID] | None, kind: str | None, *, is_open: bool | None
) -> list[Finding]:
    """All tenants', also in a process that sees only one at a time."""
    await connection.execute("SELECT set_config('app.staff', 'findings', true)")
    at, finding = after or (None, None)
    return [Finding(**row) for row in await connection.fetch(_NEWEST, at, finding, kind, is_open, limit)]


async def list_ripe(connection: Any, location: str, seconds: float, after: UUID) -> list[Any]:
    """Orphans that were found so many seconds ago, past the finding given."""
    return list(await connection.fetch(_RIPE, location, seconds, after))


async def list_open_missing(connection: Any) -> list[Any]:
    return list(await connection.fetch(_OPEN_MISSING))


async def close(connection: Any, findings: Sequence[UUID], outcome: str) -> None:
    if findings:
        await connection.execute(_CLOSE, list(findings), outcome)


async def note_removed(connection: Any, tenant: UUID | None, location: str, path: str, size: int) -> None:
    await connection.execute(_REMOVED, new_id(), tenant, location, path, size)


async def forget_old(connection: Any) -> None:
    await connection.execute(_FORGET)


async def owned(connection: Any, location: str, paths: Sequence[str]) -> set[str]:
    return {row["path"] for row in await connection.fetch(_OWNED, location, list(paths))}


async def busy(connection: Any, uploads: Sequence[UUID]) -> set[UUID]:
    return {row["id"] for row in await connection.fetch(_BUSY, list(uploads))}


async def is_relocating(connection: Any) -> bool:
    """Copies on their way to another store belong to nobody yet."""
    return bool(await connection.fetchval(_RELOCATING))


async def list_files(connection: Any, after: UUID, limit: int) -> list[Any]:
    """Every tenant's, in the order of their ids."""
    return list(await connection.fetch(_PAGE, after, limit))


async def is_wanted(connection: Any, location: str, path: str, size: int) -> bool:
    return bool(await connection.fetchval(_STILL, location, path, size))


def tenant_of(found: Found) -> UUID | None:
    """By the path: customers/{tenant}/…, parts/{tenant}/…"""
    try:
        return UUID(found.path.split("/")[1])
    except (ValueError, IndexError):
        return None
