from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.usage.tenants.models import Isolation

# Sorted by whoever asks, so that two writers lock rows in the same order. Deleted is deleted for ever.
_UPSERT = """
    INSERT INTO tenant AS t (tenant_id, slug, name, owner_id, timezone, isolation, seq, deleted_at)
    SELECT tenant_id, slug, name, owner_id, timezone, CASE g.isolation WHEN 'schema' THEN 'schema' ELSE $2 END, seq,
           deleted_at
    FROM jsonb_to_recordset($1::jsonb)
         AS n(tenant_id uuid, slug text, name text, owner_id uuid, timezone text, seq bigint, deleted_at timestamptz)
    JOIN isolation_grant AS g USING (tenant_id)
    ON CONFLICT (tenant_id) DO UPDATE
    SET slug = excluded.slug, name = excluded.name, owner_id = excluded.owner_id, timezone = excluded.timezone,
        seq = excluded.seq, deleted_at = coalesce(t.deleted_at, excluded.deleted_at)
    WHERE t.seq < excluded.seq
"""

# Whoever tells of a tenant and whoever tells of its plan meet at this row: the later of the two sees the other.
_MEET = """
    INSERT INTO isolation_grant (tenant_id, version, isolation) SELECT unnest($1::uuid[]), 0, 'shared'
    ON CONFLICT DO NOTHING
"""
_GRANT = """
    INSERT INTO isolation_grant AS g (tenant_id, version, isolation)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[])
    ON CONFLICT (tenant_id) DO UPDATE SET version = excluded.version, isolation = excluded.isolation
    WHERE g.version < excluded.version
    RETURNING g.tenant_id, g.isolation, coalesce(old.isolation, 'shared') AS before
"""
_FOLLOW = "UPDATE tenant SET isolation = $2 WHERE tenant_id = $1"
_CHOOSE = "UPDATE tenant SET isolation = $2 WHERE tenant_id = $1 AND deleted_at IS NULL RETURNING true"

# As everybody locks: the tenant, then its counters.
_GONE = "SELECT true FROM tenant WHERE tenant_id = $1 AND deleted_at IS NOT NULL FOR NO KEY UPDATE"
_COUNTERS = "SELECT FROM tenant_usage WHERE tenant_id = $1 FOR UPDATE"
_EMPTY = """
    tenant_id = $1 AND (file_count, total_size, trashed_bytes, trashed_files, version_bytes, version_files)
        = (0, 0, 0, 0, 0, 0)
"""
_NAMELESS = "UPDATE tenant SET slug = '', name = '', owner_id = $2 WHERE tenant_id = $1"
_NOBODY = UUID(int=0)


class TenantRepository:
    """All SQL on who the tenants are. Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def upsert(self, news: Sequence[dict[str, Any]], isolation: Isolation) -> None:
        """Takes over what is newer than what is known; a tenant that is new gets `isolation`."""
        await self._connection.execute(_MEET, [UUID(one["tenant_id"]) for one in news])
        await self._connection.execute(_UPSERT, news, isolation)

    async def grant_isolation(self, grants: Sequence[tuple[UUID, int, Isolation]], otherwise: Isolation) -> None:
        """By tenant and version, sorted. Where a plan begins to grant a schema the tenant gets one, where it ends
        `otherwise`; what an administrator chose stays until then.
        """
        columns = [list(column) for column in zip(*grants, strict=True)]
        rows = await self._connection.fetch(_GRANT, *columns)
        for row in (row for row in rows if row["isolation"] != row["before"]):
            wanted = "schema" if row["isolation"] == "schema" else otherwise
            await self._connection.execute(_FOLLOW, row["tenant_id"], wanted)

    async def choose_isolation(self, tenant: UUID, isolation: Isolation) -> bool:
        """False when there is no such tenant."""
        return bool(await self._connection.fetchval(_CHOOSE, tenant, isolation))

    async def list_unforgotten(self, tables: Sequence[str]) -> list[UUID]:
        """Those that are gone, their place too, and still have rows in one of the tables, or a name."""
        left = " OR ".join(f"EXISTS (SELECT FROM {table} AS x WHERE x.tenant_id = t.tenant_id)" for table in tables)
        sql = f"""
            SELECT tenant_id FROM tenant AS t
            WHERE deleted_at IS NOT NULL AND place IS NULL AND (name <> '' OR {left}) ORDER BY tenant_id
        """
        return [row["tenant_id"] for row in await self._connection.fetch(sql)]

    async def forget(self, tenant: UUID, tables: Sequence[str]) -> None:
        """Empties the tables of a tenant that is gone, and takes its name; of its counters what is nothing goes."""
        if not await self._connection.fetchval(_GONE, tenant):
            return
        await self._connection.execute(_COUNTERS, tenant)
        for table in tables:
            await self._connection.execute(f"DELETE FROM {table} WHERE tenant_id = $1", tenant)
        await self._connection.execute(f"DELETE FROM usage_breakdown WHERE {_EMPTY}", tenant)
        await self._connection.execute(_NAMELESS, tenant, _NOBODY)
