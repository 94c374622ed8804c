"""All SQL on images that are bought, but for what the account's own commit does. Inside the caller's transaction."""

from datetime import timedelta
from typing import Any
from uuid import UUID

_OPEN = "INSERT INTO image_purchase (upload_id, tenant_id) VALUES ($1, $2)"
# Waits for a settlement under way: what it says in the end is true. The caller tells billing first, then the job does.
_CLOSE = """
    UPDATE image_purchase SET due_at = now() + interval '10 seconds',
        state = CASE state WHEN 'stored' THEN 'stored' ELSE 'dropped' END
    WHERE upload_id = $1 RETURNING state = 'stored'
"""
_FORGET = "DELETE FROM image_purchase WHERE upload_id = $1"
_DEAD = "SELECT DISTINCT tenant_id FROM image_purchase WHERE state = 'open' AND created_at < now() - $1::interval"
_LOCK = "SELECT FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE"
_DROP = """
    UPDATE image_purchase AS p SET state = 'dropped', due_at = now()
    WHERE tenant_id = $1 AND state = 'open' AND created_at < now() - $2::interval
        AND NOT EXISTS (SELECT FROM reservation WHERE id = p.upload_id)
"""
_DUE = """
    SELECT upload_id, tenant_id, state = 'stored' AS stored FROM image_purchase
    WHERE state <> 'open' AND due_at <= now() ORDER BY due_at LIMIT 100
"""
_POSTPONE = """
    UPDATE image_purchase SET attempts = attempts + 1, error = $2,
        due_at = now() + make_interval(secs => least(3600, power(2, least(attempts, 12))))
    WHERE upload_id = $1
"""


async def open_purchase(connection: Any, tenant: UUID, upload: UUID) -> None:
    await connection.execute(_OPEN, upload, tenant)


async def close(connection: Any, upload: UUID) -> bool | None:
    """Whether the image is stored. From here on it never will be, if it is not. None: the purchase has ended."""
    stored: bool | None = await connection.fetchval(_CLOSE, upload)
    return stored


async def forget(connection: Any, upload: UUID) -> None:
    await connection.execute(_FORGET, upload)


async def list_dead(connection: Any, lifetime: timedelta) -> list[UUID]:
    """Tenants with purchases nobody can be busy with any more."""
    return [row["tenant_id"] for row in await connection.fetch(_DEAD, lifetime)]


async def drop_dead(connection: Any, tenant: UUID, lifetime: timedelta) -> None:
    """Under the account's lock: from here on no upload finds its purchase open."""
    await connection.execute(_LOCK, tenant)
    await connection.execute(_DROP, tenant, lifetime)


async def list_due(connection: Any) -> list[Any]:
    return list(await connection.fetch(_DUE))


async def postpone(connection: Any, upload: UUID, error: str) -> None:
    """By 1, 2, 4 … seconds, at most an hour."""
    await connection.execute(_POSTPONE, upload, error)
