from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.usage.counters.service import CounterService
from services.usage.thresholds.service import ThresholdService
from services.usage.thresholds.sweep import Sweep
from shared.clock import FixedClock
from shared.db import Database
from tests.services.usage.samples import START, TENANT, granted, stored

EARLY = datetime(2026, 3, 1, 5, 59, tzinfo=UTC)


@pytest.fixture
async def counters(worker_db: Database) -> CounterService:
    made = CounterService(ThresholdService(), FixedClock(START))
    others = [
        record for t in (uuid4() for _ in range(5)) for record in (granted(1, 100, tenant=t), stored(1, 85, tenant=t))
    ]
    async with worker_db.transaction() as connection:
        await made.apply(connection, [granted(1, 100), stored(1, 90), *others])
    return made


async def test_it_finds_nothing(worker_db: Database, counters: CounterService) -> None:
    assert await Sweep(worker_db, counters, FixedClock(EARLY)).run() == (6, 0)


async def test_it_finds_and_mends_what_was_missed(worker_db: Database, counters: CounterService) -> None:
    async with worker_db.acquire() as connection:
        await connection.execute("UPDATE tenant_usage SET limit_bytes = 90 WHERE tenant_id = $1", TENANT)
    sweep = Sweep(worker_db, counters, FixedClock(EARLY))
    assert await sweep.run() == (6, 1)
    assert await sweep.run() == (6, 0)
    async with worker_db.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM alert WHERE tenant_id = $1", TENANT) == 3


@pytest.mark.parametrize("column", ["total_size", "file_count", "trashed_bytes", "version_files"])
async def test_it_sees_a_breakdown_that_does_not_sum(
    worker_db: Database, counters: CounterService, column: str
) -> None:
    async with worker_db.acquire() as connection:
        await connection.execute(f"UPDATE usage_breakdown SET {column} = {column} + 1 WHERE tenant_id = $1", TENANT)
    assert await Sweep(worker_db, counters, FixedClock(EARLY)).run() == (6, 1)


async def test_once_a_day_from_six_on(worker_db: Database, counters: CounterService) -> None:
    clock = FixedClock(EARLY)
    sweep = Sweep(worker_db, counters, clock)

    async def days() -> int:
        await sweep.run_when_due()
        async with worker_db.acquire() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM sweep"))

    assert await days() == 0
    clock.advance(timedelta(minutes=1))
    assert [await days(), await days()] == [1, 1]
    clock.advance(timedelta(hours=23))
    assert await days() == 1
    clock.advance(timedelta(hours=1))
    assert await days() == 2
