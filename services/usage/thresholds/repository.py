from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.usage.thresholds.models import Alert
from services.usage.thresholds.rules import Arms

_SAVE = """
    INSERT INTO threshold_state (tenant_id, metric, percent, armed, reached)
    SELECT t.tenant_id, 'storage', t.percent, t.armed, t.reached
    FROM unnest($1::uuid[], $2::int[], $3::int[], $4::bool[]) AS t(tenant_id, percent, armed, reached)
    ON CONFLICT (tenant_id, metric, percent) DO UPDATE SET armed = excluded.armed, reached = excluded.reached
"""

_INSERT = """
    INSERT INTO alert (id, tenant_id, metric, percent, period, armed, used, "limit", speaks, at)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::date[], $6::int[], $7::bigint[],
                         $8::bigint[], $9::bool[], $10::timestamptz[])
    ON CONFLICT (tenant_id, metric, percent, period, armed) DO NOTHING
    RETURNING tenant_id, percent, armed
"""

_CLEAR = """
    UPDATE alert AS a SET cleared_at = c.at
    FROM unnest($1::uuid[], $2::int[], $3::int[], $4::timestamptz[]) AS c(tenant_id, percent, armed, at)
    WHERE a.tenant_id = c.tenant_id AND a.metric = 'storage' AND a.percent = c.percent AND a.armed = c.armed
    RETURNING a.tenant_id, a.percent, a.armed, a.period
"""

_LIST = """
    SELECT id, metric, percent, used, "limit", period, at, cleared_at FROM alert
    WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (at, percent, id) < ($2, $3::int, $4::uuid))
    ORDER BY at DESC, percent DESC, id DESC LIMIT $5
"""

Key = tuple[UUID, int, int]  # tenant, percent, armed: one crossing


class ThresholdRepository:
    """All SQL on thresholds and alerts. Runs in the caller's transaction, under the lock of the counters."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def save_arms(self, arms: Sequence[tuple[UUID, Arms]]) -> None:
        rows = [(tenant, percent, arm) for tenant, mine in arms for percent, arm in mine.items()]
        await self._connection.execute(
            _SAVE,
            [tenant for tenant, _, _ in rows],
            [percent for _, percent, _ in rows],
            [arm.armed for _, _, arm in rows],
            [arm.reached for _, _, arm in rows],
        )

    async def insert_alerts(self, alerts: Sequence[Alert]) -> set[Key]:
        """Returns those that were new; one already there belongs to a redelivered event."""
        columns = ("id", "tenant_id", "metric", "percent", "period", "armed", "used", "limit", "speaks", "at")
        rows = await self._connection.fetch(_INSERT, *([getattr(a, name) for a in alerts] for name in columns))
        return {(row["tenant_id"], row["percent"], row["armed"]) for row in rows}

    async def clear_alerts(self, cleared: Sequence[tuple[Key, datetime]]) -> dict[Key, date]:
        """Returns the period of each alert that ended."""
        tenants, percents, armed = zip(*(key for key, _ in cleared), strict=True)
        rows = await self._connection.fetch(
            _CLEAR, list(tenants), list(percents), list(armed), [at for _, at in cleared]
        )
        return {(row["tenant_id"], row["percent"], row["armed"]): row["period"] for row in rows}

    async def list_alerts(self, tenant: UUID, before: tuple[datetime, int, UUID] | None, limit: int) -> list[Any]:
        """Newest first, past the one at `before`."""
        at, percent, alert = before or (None, None, None)
        return list(await self._connection.fetch(_LIST, tenant, at, percent, alert, limit))
