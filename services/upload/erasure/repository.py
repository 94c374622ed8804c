"""All SQL on erasures. Runs inside the caller's transaction."""

from typing import Any
from uuid import UUID

REDACTED = 2000  # entries in one transaction

# What stays: the account with its counters, the ledger without what speaks of people, and what proves the erasure.
_KEPT = (
    "tenant_storage",
    "storage_transaction",
    "erasure",
    "stored_file",
    "reservation",
    "blob_garbage",
    "outbox_cursor",
    "tenant",
)

_CLOSE = "UPDATE tenant_storage SET deleted_at = coalesce(deleted_at, now()) WHERE tenant_id = $1"
_GONE = """
    INSERT INTO tenant AS t (tenant_id, deleted_at) VALUES ($1, now())
    ON CONFLICT (tenant_id) DO UPDATE SET deleted_at = coalesce(t.deleted_at, excluded.deleted_at)
"""
_EXPIRE_UPLOADS = "UPDATE resumable_upload SET expires_at = now() WHERE tenant_id = $1 AND expires_at > now()"
_EXPIRE_DIRECT = "UPDATE direct_upload SET expires_at = now() - interval '1 day' WHERE tenant_id = $1"
_REQUEST = """
    INSERT INTO erasure (tenant_id, requested_by, from_seq)
    SELECT tenant_id, $2, seq FROM tenant_storage WHERE tenant_id = $1
    ON CONFLICT (tenant_id) DO UPDATE SET status = CASE
        WHEN EXISTS (SELECT FROM stored_file WHERE tenant_id = $1) THEN 'pending' ELSE erasure.status END
    RETURNING *
"""
_PENDING = "SELECT * FROM erasure WHERE status = 'pending' ORDER BY requested_at LIMIT 100"
_FILES = "SELECT id FROM stored_file WHERE tenant_id = $1 LIMIT $2"
_RESERVATIONS = "SELECT id FROM reservation WHERE tenant_id = $1 LIMIT $2"
_GARBAGE = "SELECT location, path FROM blob_garbage WHERE tenant_id = $1 ORDER BY path LIMIT 1000 FOR UPDATE"
_FORGET_GARBAGE = """
    DELETE FROM blob_garbage AS g USING unnest($1::text[], $2::text[]) AS t(location, path)
    WHERE g.location = t.location AND g.path = t.path
"""
_TABLES = """
    SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE c.relkind = 'r' AND c.relforcerowsecurity AND NOT c.relname = ANY($1::text[])
    ORDER BY c.relname
"""
_HEAD = "SELECT seq, head_hash, used, files FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE"
_PUBLISHED = "SELECT published_seq FROM outbox_cursor WHERE topic = $1 AND tenant_id = $2"
_REMOVED = """
    SELECT seq, file_size, body::jsonb ->> 'sha256' AS sha256 FROM storage_transaction
    WHERE tenant_id = $1 AND seq > $2 AND action = 'delete' ORDER BY seq
"""
_IS_REDACTED = "SELECT EXISTS (SELECT FROM storage_transaction WHERE tenant_id = $1 AND redacted_at IS NOT NULL)"
# The body stays an event every consumer can read, with the same sizes: a ledger may be published again. An adjustment
# speaks of nobody.
_BLANK = """jsonb_build_object('name', '', 'path', '', 'sha256', '', 'folder', '', 'subcategory', NULL,
    'entity_id', NULL, 'project_id', NULL, 'uploaded_by', NULL)"""
_REDACT = f"""
    UPDATE storage_transaction SET redacted_at = now(), file_path = '', file_name = '', uploaded_by = NULL,
        owner = NULL, project_id = NULL, previous_owner = NULL, previous_project_id = NULL,
        metadata = '{{}}', traceparent = NULL, body = CASE WHEN action = 'adjust' THEN body ELSE (
            SELECT (j.body || {_BLANK}
                || CASE WHEN jsonb_typeof(j.body -> 'previous') = 'object'
                    THEN jsonb_build_object('previous', (j.body -> 'previous') || {_BLANK})
                    ELSE '{{}}' END
                || (SELECT coalesce(jsonb_object_agg(key, NULL), '{{}}') FROM jsonb_object_keys(j.body) AS key
                    WHERE key IN ('replaced_by', 'moved_by', 'trashed_by', 'restored_by', 'deleted_by')))::text
            FROM (SELECT body::jsonb AS body) AS j
        ) END
    WHERE tenant_id = $1 AND seq IN (
        SELECT seq FROM storage_transaction WHERE tenant_id = $1 AND redacted_at IS NULL ORDER BY seq LIMIT $2
    )
"""
_REMEMBER = "UPDATE erasure SET removed = $2 WHERE tenant_id = $1"
_END = """
    UPDATE erasure SET status = 'done', ended_at = $2, certificate = $3, signature = $4, error = NULL
    WHERE tenant_id = $1
"""
_SAY = "UPDATE erasure SET error = $2 WHERE tenant_id = $1"


async def request(connection: Any, tenant: UUID, by: UUID | None) -> Any:
    """From now on nothing of the tenant is accepted. Asked for again it is the same erasure."""
    await connection.execute(_GONE, tenant)
    await connection.execute(_CLOSE, tenant)
    return await connection.fetchrow(_REQUEST, tenant, by)


async def find(connection: Any, tenant: UUID) -> Any | None:
    return await connection.fetchrow("SELECT * FROM erasure WHERE tenant_id = $1", tenant)


async def list_pending(connection: Any) -> list[Any]:
    return list(await connection.fetch(_PENDING))


async def expire_uploads(connection: Any, tenant: UUID) -> None:
    await connection.execute(_EXPIRE_UPLOADS, tenant)
    await connection.execute(_EXPIRE_DIRECT, tenant)


async def list_files(connection: Any, tenant: UUID, limit: int) -> list[UUID]:
    """Versions and the trash among them."""
    return [row["id"] for row in await connection.fetch(_FILES, tenant, limit)]


async def list_reservations(connection: Any, tenant: UUID, limit: int) -> list[UUID]:
    return [row["id"] for row in await connection.fetch(_RESERVATIONS, tenant, limit)]


async def list_garbage(connection: Any, tenant: UUID) -> list[tuple[str, str]]:
    """Locked, whenever it would have been removed."""
    return [(row["location"], row["path"]) for row in await connection.fetch(_GARBAGE, tenant)]


async def forget_garbage(connection: Any, places: list[tuple[str, str]]) -> None:
    locations, paths = zip(*places, strict=True)
    await connection.execute(_FORGET_GARBAGE, list(locations), list(paths))


async def list_tables(connection: Any) -> list[str]:
    """Every other table that knows tenants, also those that come after this was written."""
    return [row["relname"] for row in await connection.fetch(_TABLES, list(_KEPT))]


async def empty_table(connection: Any, table: str, tenant: UUID) -> None:
    await connection.execute(f'DELETE FROM "{table}" WHERE tenant_id = $1', tenant)


async def lock_head(connection: Any, tenant: UUID) -> Any:
    return await connection.fetchrow(_HEAD, tenant)


async def published(connection: Any, topic: str, tenant: UUID) -> int:
    return int(await connection.fetchval(_PUBLISHED, topic, tenant) or 0)


async def list_removed(connection: Any, tenant: UUID, after: int) -> list[Any]:
    return list(await connection.fetch(_REMOVED, tenant, after))


async def is_redacted(connection: Any, tenant: UUID) -> bool:
    """Whether the ledger has begun to forget."""
    return bool(await connection.fetchval(_IS_REDACTED, tenant))


async def redact(connection: Any, tenant: UUID) -> int:
    """A part of the ledger; returns how many entries that were."""
    return int((await connection.execute(_REDACT, tenant, REDACTED)).split()[-1])


async def remember(connection: Any, tenant: UUID, removed: dict[str, Any]) -> None:
    await connection.execute(_REMEMBER, tenant, removed)


async def end(connection: Any, tenant: UUID, at: Any, certificate: str, signature: str) -> None:
    await connection.execute(_END, tenant, at, certificate, signature)


async def say(connection: Any, tenant: UUID, error: str) -> None:
    await connection.execute(_SAY, tenant, error)
