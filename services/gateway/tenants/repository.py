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

# What is counted in a statement after the lock stays until the commit.
_LOCK = "SELECT FROM tenant WHERE id = $1 FOR NO KEY UPDATE"

_ROLE = "SELECT role FROM membership WHERE tenant_id = $1 AND user_id = $2"

_STATE = """
    SELECT t.id, t.slug, t.name, t.owner_id, p.email AS owner_email, t.timezone, t.locale, t.created_at,
           (SELECT count(*) FROM membership AS m WHERE m.tenant_id = t.id) AS members,
           (SELECT count(*) FROM project AS j WHERE j.tenant_id = t.id) AS projects
    FROM tenant AS t JOIN person AS p ON p.id = t.owner_id WHERE t.id = $1
"""

_UPDATE = """
    UPDATE tenant SET name = coalesce($2, name), timezone = coalesce($3, timezone), locale = coalesce($4, locale)
    WHERE id = $1 AND (name, timezone, locale)
        IS DISTINCT FROM (coalesce($2, name), coalesce($3, timezone), coalesce($4, locale))
    RETURNING true
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

    async def lock(self, tenant: UUID) -> None:
        """Until the commit."""
        await self._connection.execute(_LOCK, tenant)

    async def exists(self, tenant: UUID) -> bool:
        return bool(await self._connection.fetchval("SELECT EXISTS (SELECT FROM tenant WHERE id = $1)", tenant))

    async def find_role(self, tenant: UUID, user: UUID) -> Role | None:
        found: Role | None = await self._connection.fetchval(_ROLE, tenant, user)
        return found

    async def find_state(self, tenant: UUID) -> Any | None:
        """Its columns with `owner_email`, and how many `members` and `projects` there are, of one moment."""
        return await self._connection.fetchrow(_STATE, tenant)

    async def update(self, tenant: UUID, name: str | None, timezone: str | None, locale: str | None) -> bool:
        """None leaves a field as it is. False when nothing is another than it was."""
        return bool(await self._connection.fetchval(_UPDATE, tenant, name, timezone, locale))

    async def find_owners(self, tenants: Sequence[UUID]) -> dict[UUID, Any]:
        """Columns of the tenant with the owner's email and owner_name, by tenant; the unknown are left out."""
        rows = await self._connection.fetch(_OWNERS, list(tenants))
        return {row["id"]: row for row in rows}
