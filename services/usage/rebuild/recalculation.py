from uuid import UUID

from services.usage.errors import TenantNotFound
from services.usage.live.service import LiveUsage
from services.usage.rebuild import repository
from services.usage.rebuild.provider import Books, Reconciler
from services.usage.rebuild.schemas import RebuildOut
from services.usage.rebuild.service import Outcome, Rebuilder
from shared.db import Database
from shared.http import Page, PageRequest, encode_cursor, read_position

PATIENCE = 10.0  # seconds for the counters to come to what was compared


class Recalculation:
    """One tenant's counters, when somebody wants to be sure of them (S1.9)."""

    def __init__(self, database: Database, books: Reconciler, live: LiveUsage, rebuilder: Rebuilder) -> None:
        self._database = database
        self._books = books
        self._live = live
        self._rebuilder = rebuilder

    async def run(self, tenant: UUID, *, repair_books: bool = False) -> tuple[Books, Outcome]:
        """First what upload has written down against what is there, then what was counted against what is written
        down. Raises TenantNotFound, LedgerUnreachable, RebuildRunning.
        """
        async with self._database.transaction(tenant) as connection:
            if not await repository.is_counted(connection, tenant):
                raise TenantNotFound
        books = await self._books.reconcile(tenant, repair=repair_books)
        written = max((entry["seq"] for entry in books.repaired), default=books.position)
        await self._live.wait(tenant, written - 1, None, PATIENCE)
        return books, await self._rebuilder.run(tenant, "recalculation", repair=True)

    async def list_rebuilds(self, page: PageRequest) -> Page[RebuildOut]:
        async with self._database.transaction() as connection:
            found = await repository.list_newest(connection, page.limit + 1, read_position(page.cursor))
        more = len(found) > page.limit
        items = found[: page.limit]
        cursor = encode_cursor(items[-1].started_at.isoformat(), str(items[-1].id)) if more else None
        return Page(items=[RebuildOut.of(done) for done in items], next_cursor=cursor)
