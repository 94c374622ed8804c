"""A tenant's storage at a glance, from its account and its rows: no store is asked."""

from typing import Any
from uuid import UUID

from services.upload.quota.service import AccountService
from shared.db import Database

# One statement is one snapshot: the sums add up to what is used.
_OVERVIEW = """
    SELECT plan, used, reserved, limit_bytes, files, trash_days, versions_kept,
        (SELECT max(ended_at) FROM cleanup) AS last_cleanup,
        (SELECT coalesce(jsonb_agg(to_jsonb(k) ORDER BY category), '[]') FROM (
            SELECT category, count(*) AS files, sum(size)::bigint AS bytes,
                count(*) FILTER (WHERE trashed_at IS NOT NULL) AS trash_files,
                coalesce(sum(size) FILTER (WHERE trashed_at IS NOT NULL), 0)::bigint AS trash_bytes,
                count(*) FILTER (WHERE version_of IS NOT NULL) AS version_files,
                coalesce(sum(size) FILTER (WHERE version_of IS NOT NULL), 0)::bigint AS version_bytes
            FROM stored_file GROUP BY category
        ) AS k) AS kinds
    FROM tenant_storage WHERE tenant_id = $1
"""


# As one: the newest of the files is not newer than the entry. Rows of an index, whatever is stored.
_GLANCE = """
    SELECT seq, used, reserved, limit_bytes, (SELECT coalesce(jsonb_agg(to_jsonb(f)), '[]') FROM (
        SELECT id AS file_id, name AS file_name, size AS file_size, content_type, file_type, category, uploaded_by,
            created_at AS uploaded_at
        FROM stored_file AS f
        WHERE f.tenant_id = $1 AND version_of IS NULL AND trashed_at IS NULL AND state <> 'scanning'
        ORDER BY created_at DESC, id DESC LIMIT 10
    ) AS f) AS recent
    FROM tenant_storage WHERE tenant_id = $1
"""


class OverviewService:
    def __init__(self, database: Database, accounts: AccountService) -> None:
        self._database = database
        self._accounts = accounts

    async def get(self, tenant: UUID) -> Any:
        """The account, and sums by category. Raises EntitlementsUnknown."""
        await self._accounts.state(tenant)  # whoever never stored anything has no account yet
        async with self._database.transaction(tenant) as connection:
            return await connection.fetchrow(_OVERVIEW, tenant)

    async def glance(self, tenant: UUID) -> Any:
        """The account and the newest uploads, without a sum. Raises EntitlementsUnknown."""
        await self._accounts.state(tenant)
        async with self._database.transaction(tenant) as connection:
            return await connection.fetchrow(_GLANCE, tenant)
