from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.management.rules import Day, Left
from services.usage.management.snapshot import Management

# The app role finds a client's schema only through `client_storage()`, which looks at the transaction's tenant.
_FIND = """
    SELECT t.tenant_id, t.isolation, t.place, t.number, t.calculated_position AS position,
           s.total_used, s.last_calculation, s.storage_categories, s.cleanup_history, s.user_id
    FROM tenant AS t LEFT JOIN LATERAL (
        SELECT total_used, last_calculation, storage_categories, cleanup_history, user_id
        FROM storage_management AS m WHERE t.place = 'shared' AND m.tenant_id = t.tenant_id
        UNION ALL
        SELECT total_used, last_calculation, storage_categories, cleanup_history, user_id
        FROM client_storage() WHERE t.place = 'schema'
    ) AS s ON true
    WHERE t.tenant_id = $1 AND t.deleted_at IS NULL
"""

# Whoever waited for the lock looks at the row as it is by then: of many that ask at once one calculates.
_CLAIM = """
    SELECT true FROM tenant
    WHERE tenant_id = $1 AND place IS NOT NULL AND calculated_at < $2 FOR NO KEY UPDATE
"""

# Counters and breakdown change only under the lock of the counters.
_LOCK = "SELECT FROM tenant_usage WHERE tenant_id = $1 FOR UPDATE"
_SUMS = """
    SELECT (u.bytes, u.files, u.trashed_bytes, u.trashed_files, u.version_bytes, u.version_files) = (
        coalesce(sum(b.total_size), 0), coalesce(sum(b.file_count), 0),
        coalesce(sum(b.trashed_bytes), 0), coalesce(sum(b.trashed_files), 0),
        coalesce(sum(b.version_bytes), 0), coalesce(sum(b.version_files), 0)
    )
    FROM tenant_usage AS u LEFT JOIN usage_breakdown AS b USING (tenant_id) WHERE u.tenant_id = $1 GROUP BY u.tenant_id
"""

_PAGE = """
    SELECT tenant_id FROM tenant
    WHERE tenant_id > $1 AND place IS NOT NULL AND calculated_at < $2 ORDER BY tenant_id LIMIT $3
"""

_ADD_DAYS = """
    INSERT INTO cleanup_day AS d (tenant_id, day, kind, files, bytes)
    SELECT * FROM unnest($1::uuid[], $2::date[], $3::text[], $4::bigint[], $5::bigint[])
    ON CONFLICT (tenant_id, day, kind) DO UPDATE SET files = d.files + excluded.files, bytes = d.bytes + excluded.bytes
"""


class ManagementRepository:
    """All SQL on storage management, in either place. Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def find(self, tenant: UUID) -> Management | None:
        row = await self._connection.fetchrow(_FIND, tenant)
        return None if row is None else Management.model_validate(dict(row))

    async def claim(self, tenant: UUID, before: datetime) -> bool:
        """Locks the tenant if its last calculation is older; False when there is nothing to do."""
        return bool(await self._connection.fetchval(_CLAIM, tenant, before))

    async def sums_up(self, tenant: UUID) -> bool:
        """Whether the breakdown is the total's, both locked until the commit."""
        await self._connection.fetch(_LOCK, tenant)
        return await self._connection.fetchval(_SUMS, tenant) is not False

    async def calculate(self, tenant: UUID) -> None:
        """What is stored now, written down by category."""
        await self._connection.execute("SELECT calculate_storage_usage($1)", tenant)

    async def list_older(self, after: UUID, before: datetime, limit: int) -> list[UUID]:
        return [row["tenant_id"] for row in await self._connection.fetch(_PAGE, after, before, limit)]

    async def add_days(self, days: Mapping[Day, Left]) -> None:
        keys = sorted(days)  # so that two batches never wait for each other
        await self._connection.execute(
            _ADD_DAYS,
            [tenant for tenant, _, _ in keys],
            [day for _, day, _ in keys],
            [kind for _, _, kind in keys],
            [days[key].files for key in keys],
            [days[key].bytes for key in keys],
        )
