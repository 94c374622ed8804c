"""All SQL on the people of a tenant. Runs inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.gateway.tenants.models import Role

_COLUMNS = """
    SELECT m.user_id, p.email, f.name, m.role, m.created_at
    FROM membership AS m JOIN person AS p ON p.id = m.user_id JOIN profile AS f ON f.user_id = m.user_id
"""

_LIST = f"""
    {_COLUMNS} WHERE m.tenant_id = $1 AND ($2::timestamptz IS NULL OR (m.created_at, m.user_id) > ($2, $3::uuid))
    ORDER BY m.created_at, m.user_id LIMIT $4
"""

_FIND = f"{_COLUMNS} WHERE m.tenant_id = $1 AND m.user_id = $2"


@dataclass(frozen=True, slots=True)
class Member:
    user_id: UUID
    email: str
    name: str
    role: Role
    added_at: datetime


class MemberRepository:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def list_page(self, tenant: UUID, after: tuple[datetime, UUID] | None, limit: int) -> list[Member]:
        """Oldest first."""
        at, user = after or (None, None)
        return [Member(*row.values()) for row in await self._connection.fetch(_LIST, tenant, at, user, limit)]

    async def find(self, tenant: UUID, user: UUID) -> Member | None:
        row = await self._connection.fetchrow(_FIND, tenant, user)
        return None if row is None else Member(*row.values())

    async def count(self, tenant: UUID) -> int:
        return int(await self._connection.fetchval("SELECT count(*) FROM membership WHERE tenant_id = $1", tenant))

    async def change_role(self, tenant: UUID, user: UUID, role: Role) -> None:
        sql = "UPDATE membership SET role = $3 WHERE tenant_id = $1 AND user_id = $2"
        await self._connection.execute(sql, tenant, user, role)

    async def delete(self, tenant: UUID, user: UUID) -> None:
        await self._connection.execute("DELETE FROM membership WHERE tenant_id = $1 AND user_id = $2", tenant, user)
