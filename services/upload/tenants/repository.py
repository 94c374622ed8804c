"""What is known of tenants. Runs inside the caller's transaction.

A tenant's row is locked before its account is written, by whoever writes either: an account that is just being made
and news that are just coming cannot miss each other.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

# Sorted by whoever asks, so that two writers lock rows in the same order.
_LOCK = """
    INSERT INTO tenant AS t (tenant_id) SELECT unnest($1::uuid[])
    ON CONFLICT (tenant_id) DO UPDATE SET tenant_id = t.tenant_id
"""

# Deleted is deleted for ever.
_UPSERT = """
    INSERT INTO tenant AS t (tenant_id, timezone, deleted_at)
    SELECT tenant_id, timezone, deleted_at
    FROM jsonb_to_recordset($1::jsonb) AS n(tenant_id uuid, timezone text, deleted_at timestamptz)
    ON CONFLICT (tenant_id) DO UPDATE
    SET timezone = excluded.timezone, deleted_at = coalesce(t.deleted_at, excluded.deleted_at)
"""

# A statement of its own: it sees the accounts that were committed while the rows above were waited for.
_SPREAD = """
    UPDATE tenant_storage AS s SET timezone = t.timezone, deleted_at = t.deleted_at
    FROM tenant AS t
    WHERE t.tenant_id = s.tenant_id AND s.tenant_id = ANY($1::uuid[])
      AND (s.timezone, s.deleted_at) IS DISTINCT FROM (t.timezone, t.deleted_at)
"""


async def lock(connection: Any, tenants: Sequence[UUID]) -> None:
    await connection.execute(_LOCK, tenants)


async def upsert(connection: Any, news: Sequence[dict[str, Any]]) -> None:
    await connection.execute(_UPSERT, news)
    await spread(connection, [UUID(row["tenant_id"]) for row in news])


async def spread(connection: Any, tenants: Sequence[UUID]) -> None:
    """Writes what is known of them into the accounts that are there."""
    await connection.execute(_SPREAD, tenants)
