from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.counters.tally import Amount, Hidden
from services.usage.months import Month
from services.usage.traffic.rules import Key, Sum
from services.usage.traffic.snapshot import NONE, Projects

# What changed in a month is in all months after it: the newest has what is held now, each older one what was there
# before the changes of later ones. A month older than rows that are there goes on from the newest row before it.
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
    ), first AS (
        SELECT DISTINCT ON (tenant_id, project_id) tenant_id, project_id, year, month FROM change
        ORDER BY tenant_id, project_id, year, month
    ), touched AS (
        SELECT tenant_id, project_id, year, month, sum(bytes) AS bytes, bool_or(there) AS there FROM (
            SELECT tenant_id, project_id, year, month, bytes, false AS there FROM change
            UNION ALL
            SELECT u.tenant_id, u.project_id, u.year, u.month, 0, true FROM first AS f JOIN project_usage AS u
                ON (u.tenant_id, u.project_id) = (f.tenant_id, f.project_id) AND (u.year, u.month) > (f.year, f.month)
        ) AS rows GROUP BY 1, 2, 3, 4
    )
    INSERT INTO project_usage AS u (tenant_id, year, month, project_id, storage_bytes, created_at, updated_at)
    SELECT tenant_id, t.year, t.month, project_id, greatest(0, CASE WHEN bool_or(t.there) OVER later THEN
            coalesce((SELECT b.storage_bytes FROM project_usage AS b
                      WHERE (b.tenant_id, b.project_id) = (t.tenant_id, t.project_id)
                          AND (b.year, b.month) <= (t.year, t.month)
                      ORDER BY b.year DESC, b.month DESC LIMIT 1), 0) + sum(t.bytes) OVER so_far
        ELSE h.bytes - coalesce(sum(t.bytes) OVER later, 0) END), $7, $7
    FROM touched AS t JOIN held AS h USING (tenant_id, project_id)
    WINDOW so_far AS (PARTITION BY tenant_id, project_id ORDER BY t.year, t.month),
        later AS (
            PARTITION BY tenant_id, project_id ORDER BY t.year, t.month
            ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
        )
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, year, month, project_id) DO UPDATE
    SET storage_bytes = excluded.storage_bytes, updated_at = excluded.updated_at
"""

_HIDE = """
    INSERT INTO project_storage AS p (tenant_id, project_id, bytes, files,
                                      trashed_bytes, trashed_files, version_bytes, version_files)
    SELECT h.tenant_id, h.project_id, 0, 0, h.trashed_bytes, h.trashed_files, h.version_bytes, h.version_files
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
         AS h(tenant_id, project_id, trashed_bytes, trashed_files, version_bytes, version_files)
    ON CONFLICT (tenant_id, project_id) DO UPDATE
    SET trashed_bytes = p.trashed_bytes + excluded.trashed_bytes,
        trashed_files = p.trashed_files + excluded.trashed_files,
        version_bytes = p.version_bytes + excluded.version_bytes,
        version_files = p.version_files + excluded.version_files
"""

# Changes of files keep the row of a project right; what belongs to none is looked at when it has traffic. Traffic that
# comes late finds its month as it was.
_ADD_TRAFFIC = """
    INSERT INTO project_usage AS u (tenant_id, year, month, project_id, traffic_in, traffic_out, requests,
                                    storage_bytes, created_at, updated_at)
    SELECT t.*,
        greatest(0, CASE WHEN l.later THEN
            coalesce((SELECT b.storage_bytes FROM project_usage AS b
                      WHERE (b.tenant_id, b.project_id) = (t.tenant_id, t.project_id)
                          AND (b.year, b.month) <= (t.year, t.month)
                      ORDER BY b.year DESC, b.month DESC LIMIT 1), 0)
        WHEN t.project_id = $8 THEN
            coalesce((SELECT w.bytes FROM tenant_usage AS w WHERE w.tenant_id = t.tenant_id), 0)
            - coalesce((SELECT sum(greatest(0, p.bytes)) FROM project_storage AS p WHERE p.tenant_id = t.tenant_id), 0)
        ELSE
            coalesce((SELECT p.bytes FROM project_storage AS p
                      WHERE (p.tenant_id, p.project_id) = (t.tenant_id, t.project_id)), 0)
        END),
        $9, $9
    FROM unnest($1::uuid[], $2::int[], $3::int[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[])
        AS t(tenant_id, year, month, project_id, bytes_in, bytes_out, requests),
        LATERAL (SELECT EXISTS (
            SELECT FROM project_usage AS n WHERE (n.tenant_id, n.project_id) = (t.tenant_id, t.project_id)
                AND (n.year, n.month) > (t.year, t.month)
        ) AS later) AS l
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, year, month, project_id) DO UPDATE
    SET traffic_in = u.traffic_in + excluded.traffic_in,
        traffic_out = u.traffic_out + excluded.traffic_out,
        requests = u.requests + excluded.requests,
        storage_bytes = CASE WHEN u.project_id = $8 THEN excluded.storage_bytes ELSE u.storage_bytes END,
        updated_at = excluded.updated_at
"""

# One statement is one snapshot: the parts cannot be of another moment than the total. Of each project the newest row up
# to the month: what it held then it holds until there is another. $4 is the month's last day: a tenant whose counters
# have not moved since then had what it has now, of the others the newest reading tells.
_FIND = """
    SELECT statement_timestamp() AS as_of, coalesce(u.position, 0) AS position,
        jsonb_build_object('bytes', coalesce(u.bytes, 0), 'files', coalesce(u.files, 0),
            'trashed_bytes', coalesce(u.trashed_bytes, 0), 'trashed_files', coalesce(u.trashed_files, 0),
            'version_bytes', coalesce(u.version_bytes, 0), 'version_files', coalesce(u.version_files, 0)) AS stored,
        CASE WHEN u.day <= $4 THEN u.bytes ELSE
            (SELECT d.bytes FROM storage_day AS d WHERE d.tenant_id = $1 AND d.at <= $4 ORDER BY d.at DESC LIMIT 1)
        END AS ended,
        (SELECT coalesce(jsonb_object_agg(p.project_id, to_jsonb(p)), '{}')
         FROM project_storage AS p WHERE p.tenant_id = $1) AS held,
        (SELECT coalesce(jsonb_agg(to_jsonb(newest) - 'tenant_id'), '[]') FROM (
            SELECT DISTINCT ON (project_id) * FROM project_usage
            WHERE tenant_id = $1 AND (year, month) <= ($2, $3) ORDER BY project_id, year DESC, month DESC
         ) AS newest) AS months
    FROM (SELECT) AS one LEFT JOIN tenant_usage AS u ON u.tenant_id = $1
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

    async def hide(self, changes: Mapping[UUID, Hidden]) -> None:
        """By project. Under the lock of the tenants' counters."""
        rows = Hidden.rows({tenant: hidden.projects for tenant, hidden in changes.items()})
        if rows:
            await self._connection.execute(_HIDE, *map(list, zip(*rows, strict=True)))

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
        row = await self._connection.fetchrow(_FIND, tenant, month.year, month.month, month.last)
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
