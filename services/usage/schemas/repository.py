from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.usage.tenants.models import Isolation

# Another worker's are passed over, not waited for.
_NEXT = """
    SELECT tenant_id, CASE WHEN deleted_at IS NULL THEN isolation END AS wanted FROM tenant
    WHERE place IS DISTINCT FROM CASE WHEN deleted_at IS NULL THEN isolation END AND tenant_id > $1
    ORDER BY tenant_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A tenant whose storage management is not where it is `wanted`; nowhere once the tenant is deleted."""

    tenant_id: UUID
    wanted: Isolation | None


class SchemaRepository:
    """Provisioning as the database's functions do it. Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def lock_next(self, after: UUID) -> Unsettled | None:
        """The next of them by id, locked."""
        row = await self._connection.fetchrow(_NEXT, after)
        return None if row is None else Unsettled(row["tenant_id"], row["wanted"])

    async def provision_schema(self, tenant: UUID) -> None:
        await self._connection.execute("SELECT provision_client_schema($1)", tenant)

    async def provision_shared(self, tenant: UUID) -> None:
        """Also out of a schema, which goes."""
        await self._connection.execute("SELECT provision_shared_storage($1)", tenant)

    async def remove(self, tenant: UUID) -> None:
        await self._connection.execute("SELECT remove_storage($1)", tenant)
