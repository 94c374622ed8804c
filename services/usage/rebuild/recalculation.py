from uuid import UUID

from services.usage.errors import TenantNotFound
from services.usage.rebuild import repository
from services.usage.rebuild.schemas import RebuildOut
from services.usage.rebuild.service import Outcome, Rebuilder
from shared.db import Database
from shared.http import Page, PageRequest, encode_cursor, read_position


class Recalculation:
    """One tenant's counters, when somebody wants to be sure of them (S1.9)."""

    def __init__(self, database: Database, rebuilder: Rebuilder) -> None:
        self._database = database
        self._rebuilder = rebuilder

    async def run(self, tenant: UUID) -> Outcome:
        """Raises TenantNotFound, LedgerUnreachable, RebuildRunning."""
        async with self._database.transaction(tenant) as connection:
            if not await repository.is_counted(connection, tenant):
                raise TenantNotFound
        return await self._rebuilder.run(tenant, "recalculation", repair=True)

    async def list_rebuilds(self, page: PageRequest) -> Page[RebuildOut]:
        async with self._database.transaction() as connection:
            found = await repository.list_newest(connection, page.limit + 1, read_position(page.cursor))
        more = len(found) > page.limit
        items = found[: page.limit]
        cursor = encode_cursor(items[-1].started_at.isoformat(), str(items[-1].id)) if more else None
        return Page(items=[RebuildOut.of(done) for done in items], next_cursor=cursor)
