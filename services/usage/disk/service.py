from datetime import date, timedelta
from uuid import UUID

from services.usage.disk.repository import DiskRepository
from services.usage.disk.schemas import DiskDayOut, DiskHistoryOut, DiskOut, DiskRunOut
from services.usage.errors import DiskUsageNotFound, RangeInvalid
from shared.clock import Clock
from shared.db import Database
from shared.http import Page, PageRequest, encode_cursor, read_position

SHOWN = 30  # days, where nobody says how many
LONGEST = 366  # days


class DiskService:
    """Disk usage as it was measured, and asking for it to be measured again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def newest(self, tenant: UUID) -> DiskOut:
        async with self._database.transaction(tenant) as connection:
            return DiskOut.of(await DiskRepository(connection).list_newest(tenant))

    async def history(
        self, tenant: UUID, project: UUID | None, first: date | None, last: date | None
    ) -> DiskHistoryOut:
        """Of all projects together where none is named. Raises DiskUsageNotFound, RangeInvalid."""
        last = last or self._clock.now().date()
        # The calendar has a first day, too.
        first = first or date.fromordinal(max(1, last.toordinal() - SHOWN + 1))
        if not timedelta() <= last - first < timedelta(days=LONGEST):
            raise RangeInvalid(LONGEST)
        async with self._database.transaction(tenant) as connection:
            disk = DiskRepository(connection)
            if project is not None and not await disk.knows(tenant, project):
                raise DiskUsageNotFound
            rows = await disk.list_days(tenant, project, first, last)
        return DiskHistoryOut(
            project_id=project,
            first=first,
            last=last,
            position=rows[0]["position"],
            as_of=rows[0]["as_of"],
            days=[DiskDayOut(**dict(row)) for row in rows if row["day"] is not None],
        )

    async def request_run(self, by: UUID | None) -> DiskRunOut:
        """The worker takes it up: only that may reach the engine."""
        async with self._database.transaction() as connection:
            return DiskRunOut.of(await DiskRepository(connection).request(by, self._clock.now()))

    async def list_runs(self, page: PageRequest) -> Page[DiskRunOut]:
        """Newest first. Raises DomainError for a cursor of another list."""
        after = read_position(page.cursor)
        async with self._database.transaction() as connection:
            rows = await DiskRepository(connection).list_runs(after, page.limit + 1)
        items = [DiskRunOut.of(row) for row in rows[: page.limit]]
        more = len(rows) > page.limit
        return Page(items=items, next_cursor=encode_cursor(items[-1].requested_at, items[-1].id) if more else None)
