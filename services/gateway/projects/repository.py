"""All SQL on projects. Runs inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

_INSERT = """
    INSERT INTO project (id, tenant_id, name, created_by, created_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (tenant_id, name) DO NOTHING RETURNING true
"""

_LIST = """
    SELECT id, name, created_at FROM project
    WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3::uuid))
    ORDER BY created_at, id LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class Project:
    id: UUID
    name: str
    created_at: datetime


class ProjectRepository:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def insert(self, tenant: UUID, project: Project, by: UUID) -> bool:
        """False when the tenant has one of that name."""
        row = (project.id, tenant, project.name, by, project.created_at)
        return bool(await self._connection.fetchval(_INSERT, *row))

    async def list_page(self, tenant: UUID, after: tuple[datetime, UUID] | None, limit: int) -> list[Project]:
        """Oldest first."""
        at, last = after or (None, None)
        return [Project(*row.values()) for row in await self._connection.fetch(_LIST, tenant, at, last, limit)]

    async def count(self, tenant: UUID) -> int:
        return int(await self._connection.fetchval("SELECT count(*) FROM project WHERE tenant_id = $1", tenant))

    async def delete(self, tenant: UUID, project: UUID) -> str | None:
        """Its name; None when the tenant has no such project."""
        sql = "DELETE FROM project WHERE tenant_id = $1 AND id = $2 RETURNING name"
        name: str | None = await self._connection.fetchval(sql, tenant, project)
        return name
