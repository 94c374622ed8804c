"""Projects of a tenant. Each change and its event are one commit, and the plan's limit holds in it."""

from uuid import UUID

from services.gateway.accounts.rules import normalise_name
from services.gateway.entitlements.service import PlanLimits
from services.gateway.errors import ProjectExists, ProjectNotFound
from services.gateway.projects.repository import Project, ProjectRepository
from services.gateway.tenants import changes
from shared.clock import Clock
from shared.db import Database
from shared.events import ProjectCreated, ProjectDeleted
from shared.http import PageRequest, encode_cursor
from shared.http.paging import read_position
from shared.ids import new_id
from shared.outbox import Wake


class Projects:
    def __init__(self, database: Database, limits: PlanLimits, clock: Clock, wake: Wake) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._wake = wake

    async def list_page(self, tenant: UUID, page: PageRequest) -> tuple[list[Project], str | None]:
        """Oldest first, and the cursor of what follows."""
        after = read_position(page.cursor)
        async with self._database.transaction(tenant) as connection:
            found = await ProjectRepository(connection).list_page(tenant, after, page.limit + 1)
        shown = found[: page.limit]
        return shown, encode_cursor(shown[-1].created_at, shown[-1].id) if len(found) > page.limit else None

    async def create(self, tenant: UUID, by: UUID, name: str) -> Project:
        """Raises NameInvalid, ProjectExists, PlanLimitReached, EntitlementsUnknown, NotTheManager, TenantNotFound."""
        project = Project(new_id(), normalise_name(name), self._clock.now())
        await self._limits.learn(tenant)
        async with self._database.transaction(tenant) as connection:
            await changes.begin(connection, tenant, by)
            projects = ProjectRepository(connection)
            await self._limits.check_room(connection, tenant, "projects", await projects.count(tenant))
            if not await projects.insert(tenant, project, by):
                raise ProjectExists
            what = {"project_id": project.id, "project_name": project.name}
            await changes.tell(connection, ProjectCreated, tenant, project.created_at, **what)
        self._wake.set()
        return project

    async def delete(self, tenant: UUID, by: UUID, project: UUID) -> None:
        """Files stay where they are and keep its id. Raises ProjectNotFound, NotTheManager, TenantNotFound."""
        async with self._database.transaction(tenant) as connection:
            await changes.begin(connection, tenant, by)
            name = await ProjectRepository(connection).delete(tenant, project)
            if name is None:
                raise ProjectNotFound
            what = {"project_id": project, "project_name": name}
            await changes.tell(connection, ProjectDeleted, tenant, self._clock.now(), **what)
        self._wake.set()
