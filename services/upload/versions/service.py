"""Older versions: how many a tenant keeps, and the way to be rid of them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from services.upload.entitlements.service import EntitlementService
from services.upload.errors import FileNotFound
from services.upload.files.bulk import each
from services.upload.quota.changes import Change, Condition
from services.upload.quota.rules import Delete
from services.upload.quota.service import AccountService
from shared.db import Database

PAGE = 500
_SETTLE = "UPDATE tenant_storage SET versions_kept = $2 WHERE tenant_id = $1"
# While nobody knows whether a file's new bytes may stay, all versions do.
_BEYOND = """
    SELECT tenant_id, id, version_of FROM (
        SELECT f.tenant_id, f.id, f.version_of, t.versions_kept,
            row_number() OVER (PARTITION BY f.version_of ORDER BY f.updated_at DESC, f.id DESC) AS age
        FROM stored_file AS f JOIN tenant_storage AS t USING (tenant_id)
        JOIN stored_file AS c ON c.id = f.version_of AND c.state = 'ready'
    ) AS v WHERE age > versions_kept LIMIT $1
"""


class VersionService:
    """Versions are rows of their own, counted like files. Every replacement keeps what the setting says, no more."""

    def __init__(self, database: Database, accounts: AccountService, entitlements: EntitlementService) -> None:
        self._database = database
        self._accounts = accounts
        self._entitlements = entitlements

    async def kept(self, tenant: UUID) -> int:
        return (await self._entitlements.terms(tenant, fresh=True)).versions_kept

    async def keep(self, tenant: UUID, versions: int) -> None:
        """From the next replacement on; a job removes those that are too many now."""
        await self._entitlements.terms(tenant)  # the account exists
        async with self._database.transaction(tenant) as connection:
            await connection.execute(_SETTLE, tenant, versions)
        await self._entitlements.terms(tenant, fresh=True)

    async def delete(self, tenant: UUID, file_id: UUID, version: UUID, by: UUID | None) -> None:
        """Its space is free at once. Raises FileNotFound."""
        change = Change(Delete(version, 0), by=by, condition=_is_version_of(file_id))
        if not (await self._accounts.submit(tenant, change)).ok:
            raise FileNotFound

    async def trim(self) -> int:
        """A job's work: removes the oldest versions where a lower setting has made them too many."""
        trimmed = 0
        while True:
            async with self._database.transaction() as connection:
                rows = await connection.fetch(_BEYOND, PAGE)

            async def delete(row: tuple[UUID, UUID, UUID]) -> None:
                await self.delete(row[0], row[2], row[1], None)

            results = await each([(row["tenant_id"], row["id"], row["version_of"]) for row in rows], delete)
            done = sum(result is None for result in results.values())
            trimmed += done
            if not done:
                return trimmed


def _is_version_of(file_id: UUID) -> Condition:
    def holds(row: Mapping[str, Any]) -> bool:
        return bool(row["version_of"] == str(file_id))

    return holds
