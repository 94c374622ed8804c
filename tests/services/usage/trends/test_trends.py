from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from services.usage.counters.service import CounterService
from services.usage.tenants.handlers import TenantHandler
from services.usage.thresholds.service import ThresholdService
from services.usage.traffic.service import TrafficService
from services.usage.trends.reader import TrendReader
from services.usage.trends.rules import Course, Total, course_of_storage, course_of_traffic
from services.usage.trends.totals import DailyTotals
from shared.clock import FixedClock
from shared.db import Database
from tests.services.usage.samples import deleted, stored, told, traffic

NOW = datetime(2026, 6, 1, 14, tzinfo=UTC)
DAY = timedelta(days=1)
ONE, TWO = UUID(int=1), UUID(int=2)


async def change(worker: Database, tenant: UUID, seq: int, size: int, at: datetime) -> None:
    make = stored if size > 0 else deleted
    record = make(seq, abs(size), tenant=tenant)
    async with worker.transaction() as connection:
        timed = replace(record, headers={**record.headers, "ce_time": at.isoformat().encode()})
        await CounterService(ThresholdService(), FixedClock(NOW)).apply(connection, [timed])
        moved = traffic(seq, at, (None, 1, 2, 3), tenant=tenant)
        await TrafficService(FixedClock(NOW)).apply(connection, [moved])


async def test_all_tenants_day_by_day(worker_db: Database, app_db: Database) -> None:
    clock = FixedClock(NOW)
    totals, reader = DailyTotals(worker_db, clock), TrendReader(app_db, clock)
    assert await totals.run_when_due() == 0
    assert (await reader.read()).days == []
    async with worker_db.transaction() as connection:
        await TenantHandler("shared", lambda: None).apply(connection, [told(TWO, zone="Asia/Kolkata")])
    await change(worker_db, ONE, 1, 100, NOW - 3 * DAY)
    await change(worker_db, ONE, 2, -100, NOW - 1 * DAY)
    await change(worker_db, TWO, 1, 30, NOW - 2 * DAY)
    await change(worker_db, TWO, 2, 7, NOW - DAY + timedelta(hours=6))  # the 1st of June, there
    assert await totals.run_when_due() == 3
    assert await totals.run_when_due() == 0, "each day once"
    found = await reader.read()
    assert [(d.day.day, d.tenants, d.stored_bytes, d.traffic_bytes) for d in found.days] == [
        (29, 1, 100, 3),
        (30, 2, 130, 3),
        (31, 2, 30, 3),
    ]
    assert found.storage is not None
    assert (found.tenants, found.storage.total, found.storage.average, found.storage.trend) == (2, 30, 15, None)
    clock.advance(DAY)
    assert await totals.run_when_due() == 1
    assert (await reader.read()).days[-1].stored_bytes == 37


async def test_a_day_is_added_up_when_it_is_over_everywhere(worker_db: Database) -> None:
    await change(worker_db, ONE, 1, 100, NOW - 3 * DAY)
    assert await DailyTotals(worker_db, FixedClock(NOW.replace(hour=12))).run_when_due() == 2
    assert await DailyTotals(worker_db, FixedClock(NOW.replace(hour=13))).run_when_due() == 1


def days(values: list[tuple[int, int]]) -> list[Total]:
    return [Total(date(2026, 3, 1) + n * DAY, 4, stored_, moved) for n, (stored_, moved) in enumerate(values)]


def test_averages_and_trends() -> None:
    found = days([(1000 + 10 * n, 50) for n in range(60)])
    assert course_of_storage(found) == Course(1590, 397, round(100 * 300 / 1295, 2))
    assert course_of_traffic(found) == Course(1500, 375, 0.0)
    assert course_of_traffic(found[:6]) == Course(1500, 375, None)
    assert course_of_storage(days([(0, 0)] * 9)) == Course(0, 0, None)
