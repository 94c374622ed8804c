"""Months of projects on a real database."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.usage.counters.service import CounterService
from services.usage.errors import ProjectNotFound
from services.usage.months import Month
from services.usage.thresholds.service import ThresholdService
from services.usage.traffic.service import ProjectReader, TrafficService
from services.usage.traffic.snapshot import NONE
from shared.clock import FixedClock
from shared.db import Database
from shared.kafka.records import Record
from tests.services.usage.samples import PROJECTS, TENANT, File, deleted, moved, replaced, stored, traffic

APRIL, MAY = datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)
ONE, TWO = PROJECTS
OTHER = UUID(int=9)

_KNOWN = """
    INSERT INTO tenant (tenant_id, slug, name, owner_id, timezone, isolation, seq)
    VALUES ($1, 't', 'T', $1, $2, 'shared', 1)
"""

Row = tuple[UUID | None, int, int, int, int]  # project, in, out, requests, storage


class Ledger:
    """Applies as the worker does, and reads as the HTTP process does."""

    def __init__(self, worker: Database, app: Database) -> None:
        self.worker = worker
        self.clock = FixedClock(MAY)
        self.counters = CounterService(ThresholdService(), self.clock)
        self.traffic = TrafficService(self.clock)
        self.reader = ProjectReader(app, self.clock)

    async def files(self, *records: Record) -> None:
        async with self.worker.transaction() as connection:
            await self.counters.apply(connection, records)

    async def moved(self, *records: Record) -> None:
        async with self.worker.transaction() as connection:
            await self.traffic.apply(connection, records)

    async def rows(self, month: tuple[int, int] | None = None, tenant: UUID = TENANT) -> list[Row]:
        listed = await self.reader.list_all(tenant, None if month is None else Month(*month))
        for name in ("traffic_in", "traffic_out", "requests", "storage_bytes"):
            assert sum(getattr(item, name) for item in listed.items) == getattr(listed.total, name)
        return [
            (None if i.project_id == NONE else i.project_id, i.traffic_in, i.traffic_out, i.requests, i.storage_bytes)
            for i in sorted(listed.items, key=lambda item: item.project_id)
        ]


@pytest.fixture
def ledger(worker_db: Database, app_db: Database) -> Ledger:
    return Ledger(worker_db, app_db)


async def test_traffic_and_storage_side_by_side(ledger: Ledger) -> None:
    await ledger.files(stored(1, 60, project=ONE), stored(2, 25), stored(3, 5, project=TWO))
    await ledger.moved(traffic(1, MAY, (ONE, 1, 100, 2), (None, 0, 7, 1)))
    await ledger.moved(traffic(2, MAY, (ONE, 2, 200, 1)), traffic(1, MAY, (None, 9, 9, 9), tenant=OTHER))
    assert await ledger.rows() == [(None, 0, 7, 1, 25), (ONE, 3, 300, 3, 60), (TWO, 0, 0, 0, 5)]
    assert await ledger.rows(tenant=OTHER) == [(None, 9, 9, 9, 0)]


async def test_from_one_project_to_the_other_and_out(ledger: Ledger) -> None:
    file = File(60, project=ONE)
    await ledger.files(stored(1, 60, project=ONE), moved(2, file, File(60, project=TWO)), stored(3, 1, project=ONE))
    assert await ledger.rows() == [(ONE, 0, 0, 0, 1), (TWO, 0, 0, 0, 60)]
    batch = [replaced(4, File(60, project=TWO), File(10, project=TWO)), moved(5, File(10, project=TWO), File(10))]
    for _ in range(3):  # repeats change nothing
        await ledger.files(*batch)
    assert await ledger.rows() == [(None, 0, 0, 0, 10), (ONE, 0, 0, 0, 1)]
    await ledger.files(deleted(6, 1, project=ONE), deleted(7, 10))
    assert await ledger.rows() == []


async def test_a_month_that_is_over_keeps_what_was_stored_at_its_end(ledger: Ledger) -> None:
    """One batch crosses the end of the month."""
    batch = [
        stored(1, 60, project=ONE, at=APRIL),
        deleted(2, 20, project=ONE, at=APRIL),
        stored(3, 5, project=ONE, at=MAY),
        deleted(4, 40, project=ONE, at=MAY),
    ]
    await ledger.files(stored(1, 20, project=ONE, at=APRIL, tenant=OTHER), *batch)
    assert await ledger.rows((2026, 4)) == [(ONE, 0, 0, 0, 40)]
    assert await ledger.rows() == [(ONE, 0, 0, 0, 5)]
    assert await ledger.rows((2026, 6)) == [(ONE, 0, 0, 0, 5)], "as long as nothing happens it stays"
    assert await ledger.rows((2026, 3)) == []
    assert await ledger.rows((2026, 4), OTHER) == [(ONE, 0, 0, 0, 20)]
    assert await ledger.rows(tenant=OTHER) == [(ONE, 0, 0, 0, 20)], "still there, though nothing has happened since"


async def test_a_month_in_which_nothing_happened(ledger: Ledger) -> None:
    """Stored in March, left alone in April, most of it deleted in May: of a project and of none."""
    april, june = (2026, 4), (2026, 6)
    ledger.clock.advance(timedelta(days=31))
    await ledger.files(stored(1, 60, project=ONE), stored(2, 30, project=TWO), stored(3, 7))
    assert await ledger.rows(april) == [(None, 0, 0, 0, 7), (ONE, 0, 0, 0, 60), (TWO, 0, 0, 0, 30)]
    await ledger.files(deleted(4, 60, project=ONE, at=MAY), deleted(5, 7, at=MAY), stored(6, 2, project=TWO, at=MAY))
    assert await ledger.rows(april) == [(None, 0, 0, 0, 7), (ONE, 0, 0, 0, 60), (TWO, 0, 0, 0, 30)]
    assert await ledger.rows((2026, 5)) == [(ONE, 0, 0, 0, 0), (TWO, 0, 0, 0, 32)]
    assert await ledger.rows(june) == await ledger.rows() == [(TWO, 0, 0, 0, 32)]
    assert await ledger.rows((9999, 12)) == [(TWO, 0, 0, 0, 32)]
    assert await ledger.rows((2026, 2)) == []
    await ledger.moved(traffic(1, APRIL, (ONE, 0, 4, 1)))  # late
    assert (await ledger.rows(april))[1] == (ONE, 0, 4, 1, 60)
    assert (await ledger.reader.get(TENANT, ONE, Month(*april))).storage_bytes == 60


async def test_an_entry_of_a_month_that_is_over_comes_late(ledger: Ledger) -> None:
    """It is in its own month and in all that came after it."""
    await ledger.files(stored(1, 60, project=ONE, at=datetime(2026, 2, 5, tzinfo=UTC)))
    await ledger.files(stored(2, 5, project=ONE, at=MAY), stored(3, 1, project=TWO, at=MAY))
    march = datetime(2026, 3, 5, tzinfo=UTC)
    await ledger.files(stored(4, 10, project=ONE, at=march), deleted(5, 20, project=ONE, at=APRIL))
    await ledger.files(stored(6, 2, project=TWO, at=APRIL), stored(7, 3, project=TWO, at=MAY))
    found = {month: await ledger.rows((2026, month)) for month in (2, 3, 4, 5)}
    by_project = {month: {row[0]: row[4] for row in rows} for month, rows in found.items()}
    assert by_project[2][ONE] == 60
    assert by_project[3][ONE] == 70
    assert (by_project[4][ONE], by_project[4][TWO]) == (50, 2)
    assert (by_project[5][ONE], by_project[5][TWO]) == (55, 6)


async def test_files_of_before_there_were_projects(ledger: Ledger, worker_db: Database) -> None:
    """They were counted for the tenant alone; when they go, nobody holds less than nothing."""
    await ledger.files(stored(1, 60, project=ONE), stored(2, 5))
    async with worker_db.acquire() as connection:
        await connection.execute("DELETE FROM project_storage")
    await ledger.files(deleted(3, 60, project=ONE))
    assert [row for row in await ledger.rows() if row[4]] == [(None, 0, 0, 0, 5)]


async def test_more_than_an_int_holds(ledger: Ledger) -> None:
    for seq in (1, 2):
        await ledger.moved(traffic(seq, MAY, (ONE, 2**50, 2**51, 2**40)))
    assert await ledger.rows() == [(ONE, 2**51, 2**52, 2**41, 0)]


async def test_a_stranger_sees_none_of_it(ledger: Ledger) -> None:
    await ledger.files(stored(1, 60, project=ONE))
    await ledger.moved(traffic(1, MAY, (TWO, 1, 1, 1)))
    assert await ledger.rows(tenant=OTHER) == []
    for project in (ONE, TWO, uuid4(), UUID(int=0)):
        with pytest.raises(ProjectNotFound):
            await ledger.reader.get(OTHER, project, None)
    for project in (ONE, TWO):
        assert (await ledger.reader.get(TENANT, project, None)).project_id == project


async def test_months_begin_where_the_tenant_is(ledger: Ledger, worker_db: Database) -> None:
    """Noon of the last of April in UTC is the first of May in Auckland."""
    at = datetime(2026, 4, 30, 12, 30, tzinfo=UTC)
    async with worker_db.acquire() as connection:
        await connection.execute(_KNOWN, TENANT, "Pacific/Auckland")
    await ledger.files(stored(1, 60, project=ONE, at=at), stored(1, 60, project=ONE, at=at, tenant=OTHER))
    await ledger.moved(traffic(1, at, (ONE, 1, 2, 3)), traffic(1, at, (ONE, 1, 2, 3), tenant=OTHER))
    assert await ledger.rows((2026, 4)) == []
    assert await ledger.rows((2026, 5)) == [(ONE, 1, 2, 3, 60)]
    assert await ledger.rows((2026, 4), OTHER) == [(ONE, 1, 2, 3, 60)]
