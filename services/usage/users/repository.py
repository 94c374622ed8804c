from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

_ADD = """
    INSERT INTO user_usage AS u (tenant_id, user_id, bytes, files, updated_at)
    SELECT *, $5::timestamptz FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) ORDER BY 1, 2
    ON CONFLICT (tenant_id, user_id) DO UPDATE
    SET bytes = u.bytes + excluded.bytes, files = u.files + excluded.files, updated_at = excluded.updated_at
"""

# One statement is one snapshot. What nobody known has uploaded is the rest of the tenant, and has a place among them;
# less than nothing where the books were put right without a word of whose files it was.
_PAGE = """
    WITH known AS (
        SELECT user_id, greatest(0, bytes) AS bytes, greatest(0, files) AS files, updated_at FROM user_usage
        WHERE tenant_id = $1 AND (bytes > 0 OR files > 0)
    ), total AS (
        SELECT u.position, u.bytes, u.files, (u.bytes - coalesce(sum(k.bytes), 0))::bigint AS rest_bytes,
               (u.files - coalesce(sum(k.files), 0))::bigint AS rest_files
        FROM tenant_usage AS u LEFT JOIN known AS k ON true WHERE u.tenant_id = $1 GROUP BY u.tenant_id
    ), everyone AS (
        SELECT * FROM known
        UNION ALL
        SELECT $2::uuid, rest_bytes, rest_files, NULL FROM total WHERE rest_bytes <> 0 OR rest_files <> 0
    )
    SELECT statement_timestamp() AS as_of, coalesce(t.position, 0) AS position, coalesce(t.bytes, 0) AS bytes,
           coalesce(t.files, 0) AS files,
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

    async def find_page(
        self, tenant: UUID, rest: UUID, only: UUID | None, after: tuple[int, UUID] | None, limit: int
    ) -> Any:
        """The largest first, past the one at `after`; `rest` stands for nobody known."""
        size, user = after or (None, None)
        return await self._connection.fetchrow(_PAGE, tenant, rest, only, size, user, limit)
