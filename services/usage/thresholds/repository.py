from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.usage.metering.meters import METERS
from services.usage.thresholds.models import Alert
from services.usage.thresholds.rules import Arm, Arms, Crossings, Level, Scale, Threshold
from shared.events import Metric

_LOAD = """
    SELECT tenant_id, metric, unit, value, armed, reached FROM threshold_state
    WHERE tenant_id = ANY($1::uuid[]) AND metric = ANY($2::text[])
"""

_CHOSEN = """
    SELECT tenant_id, metric, items FROM threshold_choice
    WHERE tenant_id = ANY($1::uuid[]) AND metric = ANY($2::text[])
"""

_CONCERNED = """
    SELECT tenant_id FROM threshold_choice WHERE metric = $1
    UNION SELECT tenant_id FROM threshold_state WHERE metric = $1 AND reached
"""

_CHOOSE = """
    INSERT INTO threshold_choice (tenant_id, metric, items, updated_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id, metric) DO UPDATE SET items = excluded.items, updated_at = excluded.updated_at
"""

_UNCHOOSE = "DELETE FROM threshold_choice WHERE tenant_id = $1 AND metric = $2"

_SAVE = """
    INSERT INTO threshold_state (tenant_id, metric, unit, value, armed, reached)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::int[], $6::bool[])
    ON CONFLICT (tenant_id, metric, unit, value) DO UPDATE SET armed = excluded.armed, reached = excluded.reached
"""

_INSERT = """
    INSERT INTO alert (id, tenant_id, metric, unit, value, period, armed, used, "limit", hard, speaks, at)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::date[], $7::int[],
                         $8::bigint[], $9::bigint[], $10::bool[], $11::bool[], $12::timestamptz[])
    ON CONFLICT (tenant_id, metric, unit, value, period, armed) DO NOTHING
    RETURNING tenant_id, metric, unit, value, armed
"""

_CLEAR = """
    UPDATE alert AS a SET cleared_at = c.at
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::int[], $6::timestamptz[])
         AS c(tenant_id, metric, unit, value, armed, at)
    WHERE (a.tenant_id, a.metric, a.unit, a.value, a.armed) = (c.tenant_id, c.metric, c.unit, c.value, c.armed)
    RETURNING a.tenant_id, a.metric, a.unit, a.value, a.armed, a.period
"""

# One statement is one snapshot.
_LIST = """
    SELECT statement_timestamp() AS as_of, coalesce(u.position, 0) AS position,
        (SELECT coalesce(jsonb_agg(to_jsonb(page) ORDER BY at DESC, value DESC, id DESC), '[]') FROM (
            SELECT id, metric, unit, value, used, "limit", hard, speaks, period, at, cleared_at FROM alert
            WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (at, value, id) < ($2, $3::bigint, $4::uuid))
                AND ($6::text IS NULL OR metric = $6)
            ORDER BY at DESC, value DESC, id DESC LIMIT $5
         ) AS page) AS items
    FROM (SELECT) AS one LEFT JOIN tenant_usage AS u ON u.tenant_id = $1
"""

# Arms of what begins anew each month are of the month that has begun last, whichever runs ($3: the zone of months).
_STANDING = """
    SELECT u.position, statement_timestamp() AS as_of,
           (SELECT c.items FROM threshold_choice AS c WHERE c.tenant_id = u.tenant_id AND c.metric = $2) AS chosen,
           (SELECT coalesce(jsonb_agg(jsonb_build_array(s.unit, s.value)), '[]') FROM threshold_state AS s
            WHERE s.tenant_id = u.tenant_id AND s.metric = $2 AND s.reached) AS reached,
           coalesce((SELECT f.month FROM tenant_figure AS f WHERE f.tenant_id = u.tenant_id AND f.metric = $2),
                    (SELECT make_date(m.year, m.month, 1) FROM tenant_month AS m
                     WHERE m.tenant_id = u.tenant_id AND m.begun ORDER BY m.year DESC, m.month DESC LIMIT 1))
           = date_trunc('month', statement_timestamp() AT TIME ZONE $3::text)::date AS runs
    FROM tenant_usage AS u WHERE u.tenant_id = $1
"""

Key = tuple[UUID, Metric, Level, int]  # tenant, metric, threshold, armed: one crossing
Standing = tuple[Arms, Scale]

_ALERT = ("id", "tenant_id", "metric", "unit", "value", "period", "armed", "used", "limit", "hard", "speaks", "at")


class ThresholdRepository:
    """All SQL on thresholds and alerts. Runs in the caller's transaction, under the lock of the counters."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def load(
        self, metrics: Sequence[Metric], tenants: Sequence[UUID], slack: int
    ) -> dict[tuple[UUID, Metric], Standing]:
        """Of those that have passed a threshold or chosen their own."""
        arms: defaultdict[tuple[UUID, Metric], dict[Level, Arm]] = defaultdict(dict)
        for row in await self._connection.fetch(_LOAD, tenants, metrics):
            level = Level(row["unit"], row["value"])
            arms[row["tenant_id"], row["metric"]][level] = Arm(row["armed"], row["reached"])
        usual = {metric: METERS[metric].scale(slack) for metric in metrics}
        chosen = {
            (row["tenant_id"], row["metric"]): METERS[row["metric"]].scale(slack, thresholds_of(row["items"]))
            for row in await self._connection.fetch(_CHOSEN, tenants, metrics)
        }
        return {key: (arms[key], chosen.get(key, usual[key[1]])) for key in arms.keys() | chosen.keys()}

    async def list_concerned(self, metric: Metric) -> list[UUID]:
        """Whoever has thresholds of their own, or has reached some."""
        return [row["tenant_id"] for row in await self._connection.fetch(_CONCERNED, metric)]

    async def get_standing(self, tenant: UUID, metric: Metric, zone: str) -> Any:
        return await self._connection.fetchrow(_STANDING, tenant, metric, zone)

    async def choose(self, tenant: UUID, metric: Metric, thresholds: Sequence[Threshold] | None, now: datetime) -> None:
        if thresholds is None:
            await self._connection.execute(_UNCHOOSE, tenant, metric)
        else:
            await self._connection.execute(_CHOOSE, tenant, metric, items_of(thresholds), now)

    async def save_arms(self, crossings: Sequence[Crossings]) -> None:
        rows = [
            (c.tenant_id, c.metric, *level, arm.armed, arm.reached) for c in crossings for level, arm in c.arms.items()
        ]
        await self._connection.execute(_SAVE, *map(list, zip(*rows, strict=True)))

    async def insert_alerts(self, alerts: Sequence[Alert]) -> set[Key]:
        """Returns those that were new; one already there belongs to a redelivered event."""
        rows = await self._connection.fetch(_INSERT, *([getattr(a, name) for a in alerts] for name in _ALERT))
        return {_key(row) for row in rows}

    async def clear_alerts(self, cleared: Sequence[tuple[Key, datetime]]) -> dict[Key, date]:
        """Returns the period of each alert that ended."""
        rows = [(tenant, metric, *level, armed, at) for (tenant, metric, level, armed), at in cleared]
        found = await self._connection.fetch(_CLEAR, *map(list, zip(*rows, strict=True)))
        return {_key(row): row["period"] for row in found}

    async def list_alerts(
        self, tenant: UUID, before: tuple[datetime, int, UUID] | None, limit: int, metric: Metric | None
    ) -> Any:
        """Newest first, past the one at `before`."""
        at, value, alert = before or (None, None, None)
        return await self._connection.fetchrow(_LIST, tenant, at, value, alert, limit, metric)


def _key(row: Any) -> Key:
    return row["tenant_id"], row["metric"], Level(row["unit"], row["value"]), row["armed"]


def thresholds_of(items: Sequence[Mapping[str, Any]]) -> tuple[Threshold, ...]:
    return tuple(Threshold(Level(i["unit"], i["value"]), i["hard"], tuple(i["channels"])) for i in items)


def items_of(thresholds: Sequence[Threshold]) -> list[dict[str, Any]]:
    return [{**t.level._asdict(), "hard": t.hard, "channels": list(t.channels)} for t in thresholds]
