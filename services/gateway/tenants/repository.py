"""All SQL on tenants and memberships. Runs inside the caller's transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.gateway.tenants.models import Membership, Role, Tenant

_INSERT = """
    INSERT INTO tenant (id, slug, name, owner_id, timezone, locale, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (slug) DO NOTHING RETURNING slug
"""

_MEMBERSHIPS = """
    SELECT m.tenant_id, t.slug, t.name, m.role
    FROM membership AS m JOIN tenant AS t ON t.id = m.tenant_id
    WHERE m.user_id = $1 ORDER BY m.created_at, m.tenant_id
"""

_OWNERS = """
    SELECT t.id, t.slug, t.name, t.locale, p.email, f.name AS owner_name, t.timezone
    FROM tenant AS t JOIN person AS p ON p.id = t.owner_id JOIN profile AS f ON f.user_id = t.owner_id
    WHERE t.id = ANY($1::uuid[])
"""


class TenantRepository:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def insert(self, tenant: Tenant, slugs: Iterable[str], at: datetime) -> str:
        """Takes the first free slug and returns it."""
        for slug in slugs:
            found = await self._connection.fetchval(
                _INSERT, tenant.id, slug, tenant.name, tenant.owner_id, tenant.timezone, tenant.locale, at
            )
            if found is not None:
                return slug
        raise LookupError("the slugs ran out")

    async def insert_member(self, tenant: UUID, user: UUID, role: Role, at: datetime) -> None:
        await self._connection.execute("INSERT INTO membership VALUES ($1, $2, $3, $4)", tenant, user, role, at)

    async def list_of(self, user: UUID) -> list[Membership]:
        """Oldest first. The transaction must be the person's own (`app.user_id`)."""
        return [Membership(*row.values()) for row in await self._connection.fetch(_MEMBERSHIPS, user)]

    async def find_owners(self, tenants: Sequence[UUID]) -> dict[UUID, Any]:
        """Columns of the tenant with the owner's email and owner_name, by tenant; the unknown are left out."""
        rows = await self._connection.fetch(_OWNERS, list(tenants))
        return {row["id"]: row for row in rows}
