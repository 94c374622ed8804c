from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.usage.tenants.models import Isolation

# Sorted by whoever asks, so that two writers lock rows in the same order. Deleted is deleted for ever.
_UPSERT = """
    INSERT INTO tenant AS t (tenant_id, slug, name, owner_id, timezone, isolation, seq, deleted_at)
    SELECT tenant_id, slug, name, owner_id, timezone, $2, seq, deleted_at
    FROM jsonb_to_recordset($1::jsonb)
         AS n(tenant_id uuid, slug text, name text, owner_id uuid, timezone text, seq bigint, deleted_at timestamptz)
    ON CONFLICT (tenant_id) DO UPDATE
    SET slug = excluded.slug, name = excluded.name, owner_id = excluded.owner_id, timezone = excluded.timezone,
        seq = excluded.seq, deleted_at = coalesce(t.deleted_at, excluded.deleted_at)
    WHERE t.seq < excluded.seq
"""

_CHOOSE = "UPDATE tenant SET isolation = $2 WHERE tenant_id = $1 AND deleted_at IS NULL RETURNING true"


class TenantRepository:
    """All SQL on who the tenants are. Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def upsert(self, news: Sequence[dict[str, Any]], isolation: Isolation) -> None:
        """Takes over what is newer than what is known; a tenant that is new gets `isolation`."""
        await self._connection.execute(_UPSERT, news, isolation)

    async def choose_isolation(self, tenant: UUID, isolation: Isolation) -> bool:
        """False when there is no such tenant."""
        return bool(await self._connection.fetchval(_CHOOSE, tenant, isolation))
