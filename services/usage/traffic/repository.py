from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.counters.tally import Amount
from services.usage.months import Month
from services.usage.traffic.rules import Key, Sum
from services.usage.traffic.snapshot import NONE, Projects

# A batch may cross the end of a month: each month is left with what was stored before the changes of later ones.
_ADD_STORAGE = """
    WITH change AS MATERIALIZED (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::uuid[], $5::bigint[], $6::bigint[])
            AS c(tenant_id, year, month, project_id, bytes, files)
    ), held AS (
        INSERT INTO project_storage AS p (tenant_id, project_id, bytes, files)
        SELECT tenant_id, project_id, sum(bytes), sum(files) FROM change GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (tenant_id, project_id) DO UPDATE
        SET bytes = p.bytes + excluded.bytes, files = p.files + excluded.files
        RETURNING tenant_id, project_id, bytes
    )
    INSERT INTO project_usage AS u (tenant_id, year, month, project_id, storage_bytes, created_at, updated_at)
    SELECT tenant_id, c.year, c.month, project_id, greatest(0, h.bytes - coalesce(sum(c.bytes) OVER later, 0)), $7, $7
    FROM change AS c JOIN held AS h USING (tenant_id, project_id)
    WINDOW later AS (
        PARTITION BY tenant_id, project_id ORDER BY c.year DESC, c.month DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, year, month, project_id) DO UPDATE
    SET storage_bytes = excluded.storage_bytes, updated_at = excluded.updated_at
"""

# Changes of files keep the row of a project right; what belongs to none is looked at when it has traffic.
_ADD_TRAFFIC = """
    INSERT INTO project_usage AS u (tenant_id, year, month, project_id, traffic_in, traffic_out, requests,
                                    storage_bytes, created_at, updated_at)
    SELECT t.*,
        greatest(0, CASE WHEN t.project_id = $8 THEN
            coalesce((SELECT w.bytes FROM tenant_usage AS w WHERE w.tenant_id = t.tenant_id), 0)
            - coalesce((SELECT sum(greatest(0, p.bytes)) FROM project_storage AS p WHERE p.tenant_id = t.tenant_id), 0)
        ELSE
            coalesce((SELECT p.bytes FROM project_storage AS p
                      WHERE (p.tenant_id, p.project_id) = (t.tenant_id, t.project_id)), 0)
        END),
        $9, $9
    FROM unnest($1::uuid[], $2::int[], $3::int[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[])
        AS t(tenant_id, year, month, project_id, bytes_in, bytes_out, requests)
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, year, month, project_id) DO UPDATE
    SET traffic_in = u.traffic_in + excluded.traffic_in,
        traffic_out = u.traffic_out + excluded.traffic_out,
        requests = u.requests + excluded.requests,
        storage_bytes = CASE WHEN u.project_id = $8 THEN excluded.storage_bytes ELSE u.storage_bytes END,
        updated_at = excluded.updated_at
"""

# One statement is one snapshot: the parts cannot be of another moment than the total.
_FIND = """
    SELECT statement_timestamp() AS as_of,
        coalesce((SELECT bytes FROM tenant_usage WHERE tenant_id = $1), 0) AS stored,
        (SELECT coalesce(jsonb_object_agg(project_id, bytes), '{}') FROM project_storage WHERE tenant_id = $1) AS held,
        (SELECT coalesce(jsonb_agg(to_jsonb(u) - 'tenant_id'), '[]') FROM project_usage AS u
         WHERE tenant_id = $1 AND year = $2 AND month = $3) AS months
"""

_KNOWS = "SELECT EXISTS (SELECT FROM project_usage WHERE tenant_id = $1 AND project_id = $2)"


class ProjectRepository:
    """All SQL on projects. Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def add_storage(self, changes: Mapping[tuple[UUID, Month, UUID], Amount], now: datetime) -> None:
        """By tenant, month and project. Under the lock of the tenants' counters."""
        await self._connection.execute(
            _ADD_STORAGE,
            *_columns(changes),
            [change.bytes for change in changes.values()],
            [change.files for change in changes.values()],
            now,
        )

    async def add_traffic(self, sums: Mapping[Key, Sum], now: datetime) -> None:
        await self._connection.execute(
            _ADD_TRAFFIC,
            *_columns(sums),
            [held.bytes_in for held in sums.values()],
            [held.bytes_out for held in sums.values()],
            [held.requests for held in sums.values()],
            NONE,
            now,
        )

    async def find(self, tenant: UUID, month: Month) -> Projects:
        row = await self._connection.fetchrow(_FIND, tenant, month.year, month.month)
        return Projects.model_validate(dict(row))

    async def knows(self, tenant: UUID, project: UUID) -> bool:
        """Whether it ever had a file or traffic."""
        return bool(await self._connection.fetchval(_KNOWS, tenant, project))


def _columns(keys: Mapping[Key, object]) -> tuple[list[UUID], list[int], list[int], list[UUID]]:
    return (
        [tenant for tenant, _, _ in keys],
        [month.year for _, month, _ in keys],
        [month.month for _, month, _ in keys],
        [project for _, _, project in keys],
    )
