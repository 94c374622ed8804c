from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.counters.tally import Hidden

_ADD = """
    INSERT INTO user_usage AS u (tenant_id, user_id, bytes, files, updated_at)
    SELECT *, $5::timestamptz FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) ORDER BY 1, 2
    ON CONFLICT (tenant_id, user_id) DO UPDATE
    SET bytes = u.bytes + excluded.bytes, files = u.files + excluded.files, updated_at = excluded.updated_at
"""
_HIDE = """
    INSERT INTO user_usage AS u (tenant_id, user_id, bytes, files, updated_at,
                                 trashed_bytes, trashed_files, version_bytes, version_files)
    SELECT h.tenant_id, h.user_id, 0, 0, $7, h.trashed_bytes, h.trashed_files, h.version_bytes, h.version_files
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
         AS h(tenant_id, user_id, trashed_bytes, trashed_files, version_bytes, version_files)
    ON CONFLICT (tenant_id, user_id) DO UPDATE
    SET trashed_bytes = u.trashed_bytes + excluded.trashed_bytes,
        trashed_files = u.trashed_files + excluded.trashed_files,
        version_bytes = u.version_bytes + excluded.version_bytes,
        version_files = u.version_files + excluded.version_files
"""

# One statement is one snapshot. What nobody known has uploaded is the rest of the tenant, and has a place among them;
# less than nothing where the books were put right without a word of whose files it was.
_PAGE = """
    WITH known AS (
        SELECT user_id, greatest(0, bytes) AS bytes, greatest(0, files) AS files,
               greatest(0, trashed_bytes) AS trashed_bytes, greatest(0, trashed_files) AS trashed_files,
               greatest(0, version_bytes) AS version_bytes, greatest(0, version_files) AS version_files, updated_at
        FROM user_usage WHERE tenant_id = $1 AND (bytes > 0 OR files > 0)
    ), held AS (
        SELECT coalesce(sum(bytes), 0)::bigint AS bytes, coalesce(sum(files), 0)::bigint AS files,
               coalesce(sum(trashed_bytes), 0)::bigint AS trashed_bytes,
               coalesce(sum(trashed_files), 0)::bigint AS trashed_files,
               coalesce(sum(version_bytes), 0)::bigint AS version_bytes,
               coalesce(sum(version_files), 0)::bigint AS version_files
        FROM known
    ), total AS (
        SELECT position, bytes, files, trashed_bytes, trashed_files, version_bytes, version_files
        FROM tenant_usage WHERE tenant_id = $1
    ), rest AS (
        SELECT t.bytes - h.bytes AS bytes, t.files - h.files AS files,
               t.trashed_bytes - h.trashed_bytes AS trashed_bytes, t.trashed_files - h.trashed_files AS trashed_files,
               t.version_bytes - h.version_bytes AS version_bytes, t.version_files - h.version_files AS version_files
        FROM total AS t, held AS h
    ), everyone AS (
        SELECT * FROM known
        UNION ALL
        SELECT $2::uuid, r.*, NULL FROM rest AS r
        WHERE (r.bytes, r.files, r.trashed_bytes, r.trashed_files, r.version_bytes, r.version_files)
            <> (0, 0, 0, 0, 0, 0)
    )
    SELECT statement_timestamp() AS as_of, coalesce(t.position, 0) AS position, coalesce(t.bytes, 0) AS bytes,
           coalesce(t.files, 0) AS files, coalesce(t.trashed_bytes, 0) AS trashed_bytes,
           coalesce(t.trashed_files, 0) AS trashed_files, coalesce(t.version_bytes, 0) AS version_bytes,
           coalesce(t.version_files, 0) AS version_files,
           (SELECT coalesce(jsonb_agg(to_jsonb(page) ORDER BY page.bytes DESC, page.user_id), '[]') FROM (
                SELECT * FROM everyone AS e
                WHERE ($3::uuid IS NULL OR e.user_id = $3)
                  AND ($4::bigint IS NULL OR e.bytes < $4 OR (e.bytes = $4 AND e.user_id > $5::uuid))
                ORDER BY e.bytes DESC, e.user_id LIMIT $6) AS page) AS items
    FROM (SELECT) AS one LEFT JOIN total AS t ON true
"""


class UserRepository:
    """All SQL on who has uploaded how much. Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def add(self, changes: Mapping[UUID, Mapping[int, list[int]]], now: datetime) -> None:
        """Bytes and files by tenant and number of the person's id. Under the lock of the tenants' counters."""
        known = [(tenant, *change) for tenant, mine in changes.items() for change in mine.items()]
        rows = [(tenant, UUID(int=user), *amount) for tenant, user, amount in known if any(amount)]
        if rows:
            await self._connection.execute(_ADD, *map(list, zip(*rows, strict=True)), now)

    async def hide(self, changes: Mapping[UUID, Hidden], now: datetime) -> None:
        """As `add`."""
        rows = Hidden.rows({tenant: hidden.users for tenant, hidden in changes.items()})
        if rows:
            await self._connection.execute(_HIDE, *map(list, zip(*rows, strict=True)), now)

    async def find_page(
        self, tenant: UUID, rest: UUID, only: UUID | None, after: tuple[int, UUID] | None, limit: int
    ) -> Any:
        """The largest first, past the one at `after`; `rest` stands for nobody known."""
        size, user = after or (None, None)
        return await self._connection.fetchrow(_PAGE, tenant, rest, only, size, user, limit)
