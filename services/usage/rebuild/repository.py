from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.rebuild.models import Rebuild
from services.usage.rebuild.rules import Difference

_LOCK = 0x5_70B5  # any number that is ours: one repair at a time

_INSERT = """
    INSERT INTO rebuild (id, reason, started_at, finished_at, tenants, entries, differing, ahead, repaired, whole)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
_ADJUST = """
    INSERT INTO counter_adjustment (tenant_id, rebuild_id, position, reason, differences, at)
    SELECT t.tenant_id, $1, t.position, $2, t.differences, $3
    FROM jsonb_to_recordset($4::jsonb) AS t(tenant_id uuid, position bigint, differences jsonb)
"""
_NEWEST = """
    SELECT * FROM rebuild WHERE $1::timestamptz IS NULL OR (started_at, id) < ($1, $2::uuid)
    ORDER BY started_at DESC, id DESC LIMIT $3
"""
_DONE = "SELECT true FROM rebuild WHERE reason = $1 AND started_at >= $2 AND (whole OR NOT $3) LIMIT 1"
_FIND_NEWEST = "SELECT * FROM rebuild WHERE reason = $1 ORDER BY started_at DESC, id DESC LIMIT 1"
_WANTED = "SELECT true FROM rebuild_wanted WHERE reason = $1"
_SETTLE = "DELETE FROM rebuild_wanted WHERE reason = $1"
_COUNTED = "SELECT true FROM tenant_usage WHERE tenant_id = $1"


async def lock(connection: Any) -> bool:
    """Until the connection lets go of it; False after ten seconds of another's repair."""
    await connection.execute("SET lock_timeout = '10s'")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    except Exception as error:
        if getattr(error, "sqlstate", "") == "55P03":
            return False
        raise
    finally:
        await connection.execute("RESET lock_timeout")
    return True


async def unlock(connection: Any) -> None:
    await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def insert(connection: Any, done: Rebuild) -> None:
    values = done.model_dump()
    counts = ("tenants", "entries", "differing", "ahead", "repaired", "whole")
    await connection.execute(_INSERT, *(values[n] for n in ("id", "reason", "started_at", "finished_at", *counts)))


async def note_adjustments(
    connection: Any, rebuild: UUID, reason: str, at: datetime, tenants: Sequence[Sequence[Difference]]
) -> None:
    """The differences of each tenant."""
    kept = [
        {
            "tenant_id": str(differences[0].tenant_id),
            "position": differences[0].position,
            "differences": [difference.document() for difference in differences],
        }
        for differences in tenants
    ]
    await connection.execute(_ADJUST, rebuild, reason, at, kept)


async def list_newest(connection: Any, limit: int, before: tuple[datetime, UUID] | None) -> list[Rebuild]:
    at, rebuild = before or (None, None)
    return [Rebuild(**row) for row in await connection.fetch(_NEWEST, at, rebuild, limit)]


async def is_done(connection: Any, reason: str, since: datetime, *, whole: bool = False) -> bool:
    """`whole`: of whole ledgers only."""
    return bool(await connection.fetchval(_DONE, reason, since, whole))


async def find_newest(connection: Any, reason: str) -> Rebuild | None:
    row = await connection.fetchrow(_FIND_NEWEST, reason)
    return None if row is None else Rebuild(**row)


async def is_wanted(connection: Any, reason: str) -> bool:
    return bool(await connection.fetchval(_WANTED, reason))


async def settle(connection: Any, reason: str) -> None:
    """It is wanted no more."""
    await connection.execute(_SETTLE, reason)


async def is_counted(connection: Any, tenant: UUID) -> bool:
    return bool(await connection.fetchval(_COUNTED, tenant))
