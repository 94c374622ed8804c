"""All SQL on what came of reconciliations, and on whose turn it is. Runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.upload.reconciliation.looks import Checkpoint
from services.upload.reconciliation.models import Reconciliation
from services.upload.reconciliation.rules import Amount, Difference, Look, listed
from services.upload.reconciliation.rules import unlisted as read

KEPT_DAYS = 90
_CHECKPOINT = "SELECT position, kinds FROM reconciliation_checkpoint WHERE tenant_id = $1"
_SAVE = """
    INSERT INTO reconciliation_checkpoint AS c (tenant_id, position, kinds, drift) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id) DO UPDATE SET position = $2, kinds = $3, drift = $4, looked_at = now(),
        whole_at = CASE WHEN $5 THEN now() ELSE c.whole_at END
"""
_NOTE_GAP = """
    UPDATE reconciliation_checkpoint SET gap = $2::jsonb,
        gap_since = CASE WHEN $2::jsonb IS NULL THEN NULL WHEN gap = $2::jsonb THEN gap_since ELSE now() END
    WHERE tenant_id = $1
    RETURNING gap_since IS NOT NULL AND gap_since <= now() - make_interval(secs => $3) AS ripe
"""
_DRIFT = "UPDATE reconciliation_checkpoint SET drift = $2 WHERE tenant_id = $1"
_KEEP = """
    INSERT INTO reconciliation (id, tenant_id, at, position, differing, repaired, result)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_FORGET = f"""
    DELETE FROM reconciliation WHERE tenant_id = $1 AND id <> $2
        AND (NOT differing OR at < now() - interval '{KEPT_DAYS} days')
"""
_NEWEST = "SELECT result FROM reconciliation WHERE tenant_id = $1 ORDER BY at DESC, id DESC LIMIT 1"
_LIST = """
    SELECT at, id, result FROM reconciliation
    WHERE ($1::timestamptz IS NULL OR (at, id) < ($1, $2)) AND ($3::uuid IS NULL OR tenant_id = $3)
      AND ($4::boolean IS NULL OR differing = $4)
    ORDER BY at DESC, id DESC LIMIT $5
"""
_STANDING = """
    FROM tenant_storage AS t LEFT JOIN reconciliation_checkpoint AS c USING (tenant_id)
    WHERE NOT EXISTS (SELECT FROM erasure AS e WHERE e.tenant_id = t.tenant_id AND e.status = 'done')
"""
_OLD = "c.whole_at < now() - interval '7 days'"
# What has moved, what was never looked at, and what did not agree.
_DUE = f"""
    SELECT t.tenant_id, c.tenant_id IS NULL OR {_OLD} AS whole {_STANDING}
      AND (c.tenant_id IS NULL OR c.position <> t.seq OR c.gap IS NOT NULL OR c.drift <> '[]')
      AND (c.looked_at IS NULL OR c.looked_at <= now() - $2::interval)
    ORDER BY c.looked_at NULLS FIRST LIMIT $1
"""
_REST = f"SELECT t.tenant_id, true AS whole {_STANDING} AND c.position = t.seq AND {_OLD} ORDER BY c.whole_at LIMIT $1"
_DRIFTING = """
    SELECT d ->> 0 AS side, sum((d ->> 1)::bigint)::bigint AS bytes, sum((d ->> 2)::bigint)::bigint AS files
    FROM reconciliation_checkpoint, jsonb_array_elements(drift) AS d GROUP BY 1
"""


async def find_checkpoint(connection: Any, tenant: UUID) -> Checkpoint | None:
    row = await connection.fetchrow(_CHECKPOINT, tenant)
    return None if row is None else Checkpoint(row["position"], read(row["kinds"]))


async def save_checkpoint(
    connection: Any, tenant: UUID, look: Look, differences: Sequence[Difference], *, whole: bool
) -> None:
    kinds = listed(look.ledger)
    await connection.execute(_SAVE, tenant, look.position, kinds, _told(differences), whole)


async def note_gap(connection: Any, tenant: UUID, gap: list[list[Any]] | None, seconds: float) -> bool:
    """Whether exactly this was seen before, at least so many seconds ago. None: there is none any more."""
    return bool(await connection.fetchval(_NOTE_GAP, tenant, gap, seconds))


async def note_drift(connection: Any, tenant: UUID, differences: Sequence[Difference]) -> None:
    await connection.execute(_DRIFT, tenant, _told(differences))


async def keep(connection: Any, kept: Reconciliation) -> None:
    """And forgets what it replaces: of those that found nothing the newest is enough."""
    values = (kept.id, kept.tenant_id, kept.at, kept.position, kept.differing, kept.repaired, kept.result)
    await connection.execute(_KEEP, *values)
    await connection.execute(_FORGET, kept.tenant_id, kept.id)


async def find_newest(connection: Any, tenant: UUID) -> dict[str, Any] | None:
    found: dict[str, Any] | None = await connection.fetchval(_NEWEST, tenant)
    return found


async def list_newest(
    connection: Any, limit: int, after: tuple[datetime, UUID] | None, tenant: UUID | None, *, differing: bool | None
) -> list[Any]:
    """All tenants', also in a process that sees only one at a time."""
    await connection.execute("SELECT set_config('app.staff', 'reconciliations', true)")
    at, last = after or (None, None)
    return list(await connection.fetch(_LIST, at, last, tenant, differing, limit))


async def list_due(connection: Any, limit: int, age: timedelta) -> list[tuple[UUID, bool]]:
    """Tenants that moved since they were looked at, or did not agree, or were never looked at; not looked at for `age`.
    With whether the whole ledger is to be added up again.
    """
    return [(row["tenant_id"], row["whole"]) for row in await connection.fetch(_DUE, limit, age)]


async def list_rest(connection: Any, limit: int) -> list[tuple[UUID, bool]]:
    """Those that did not move, whose whole ledger was last added up a week ago."""
    return [(row["tenant_id"], row["whole"]) for row in await connection.fetch(_REST, limit)]


async def sum_drift(connection: Any) -> dict[str, Amount]:
    """Over all tenants, by side."""
    return {row["side"]: Amount(row["bytes"], row["files"]) for row in await connection.fetch(_DRIFTING)}


def _told(differences: Sequence[Difference]) -> list[list[Any]]:
    return [[found.side, abs(found.amount.bytes), abs(found.amount.files)] for found in differences]
