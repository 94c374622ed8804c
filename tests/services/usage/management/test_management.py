"""What is calculated of a tenant's storage and given out, the same in either mode."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.usage.management import rules
from services.usage.management.calculation import CHANNEL
from services.usage.management.schedule import CalculationSchedule
from services.usage.tenants.models import Isolation
from shared.clock import FixedClock
from shared.db import Database
from shared.events import TenantUpdated
from shared.outbox import Wake
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.samples import KINDS, START, File, deleted, granted, stored, told, trashed
from tests.services.usage.world import World, calculations, world

HALF_A_DAY = timedelta(hours=12, seconds=5)


@pytest.fixture(params=["shared", "schema"])
async def here(request: pytest.FixtureRequest, usage_db: ServiceDatabase) -> AsyncIterator[World]:
    mode: Isolation = request.param
    async with world(usage_db, mode) as made:
        yield made


async def test_provisioned_with_what_is_stored(here: World) -> None:
    tenant = uuid4()
    await here.sign_up(
        stored(1, 60, tenant=tenant),
        stored(2, 25, KINDS[2], tenant=tenant),
        stored(3, 5, KINDS[1], tenant=tenant),
        deleted(4, 5, KINDS[1], tenant=tenant),
    )
    status, body = await here.get(tenant)
    assert status == 200
    assert 0 <= body.pop("age_seconds") < 60
    assert datetime.fromisoformat(body.pop("last_calculation")) > datetime.now(UTC) - timedelta(minutes=1)
    assert body == {
        "total_used": 85,
        "position": 4,
        "storage_categories": {"avatars": {"bytes": 60, "files": 1}, "leases": {"bytes": 25, "files": 1}},
        "cleanup_history": [{"at": "2026-03-01", "kind": "files", "bytes": 5, "files": 1}],
        "user_id": str(tenant),
        "isolation": here.isolation,
    }
    assert await here.place_of(tenant) == here.isolation
    assert (await here.schema_of(tenant) in await here.schemas()) == (here.isolation == "schema")


async def test_a_new_tenant_stores_nothing(here: World) -> None:
    status, body = await here.get(await here.sign_up())
    assert (status, body["total_used"], body["storage_categories"], body["cleanup_history"]) == (200, 0, {}, [])


async def test_a_read_gives_what_was_calculated_and_calculates_nothing(here: World) -> None:
    tenant = await here.sign_up(stored(1, 60, tenant=uuid4()))
    await here.age(tenant, timedelta(hours=11))
    await here.apply(stored(2, 10, tenant=tenant))
    body = (await here.get(tenant))[1]
    assert body["total_used"] == 60
    assert 11 * 3600 <= body["age_seconds"] < 11 * 3600 + 60


async def test_kinds_of_clean_ups_by_day(here: World) -> None:
    tenant = await here.sign_up()
    day = 24 * 60 * 60
    await here.apply(*(stored(seq, 10, tenant=tenant, version=seq == 4) for seq in range(1, 5)))
    await here.apply(*(trashed(seq, File(10), tenant=tenant) for seq in (5, 6)))
    await here.apply(deleted(7, 10, tenant=tenant), deleted(8, 10, tenant=tenant, trashed=True))
    await here.apply(deleted(9, 10, tenant=tenant, trashed=True), deleted(day, 10, tenant=tenant, version=True))
    await here.calculator.calculate(tenant, datetime.now(UTC), "access")
    assert (await here.get(tenant))[1]["cleanup_history"] == [
        {"at": "2026-03-02", "kind": "versions", "bytes": 10, "files": 1},
        {"at": "2026-03-01", "kind": "files", "bytes": 10, "files": 1},
        {"at": "2026-03-01", "kind": "trash", "bytes": 20, "files": 2},
    ]


async def test_a_hundred_clean_ups_are_kept(here: World) -> None:
    tenant = await here.sign_up()
    sql = "INSERT INTO cleanup_day SELECT $1, '2026-01-01'::date + n, 'files', 1, n FROM generate_series(1, 130) AS n"
    await query(here.dsn.superuser, sql, tenant)
    await here.calculator.calculate(tenant, datetime.now(UTC), "access")
    history = (await here.get(tenant))[1]["cleanup_history"]
    assert [entry["bytes"] for entry in history] == list(range(130, 30, -1))
    assert (await query(here.dsn.superuser, "SELECT count(*) FROM cleanup_day"))[0][0] == 100


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE tenant_usage SET bytes = 61, files = 3 WHERE tenant_id = $1",
        "UPDATE tenant_usage SET files = 3 WHERE tenant_id = $1",
        "UPDATE usage_breakdown SET total_size = 61 WHERE tenant_id = $1",
        "UPDATE usage_breakdown SET trashed_bytes = 7 WHERE tenant_id = $1",
        "UPDATE usage_breakdown SET version_files = 1 WHERE tenant_id = $1",
        "DELETE FROM usage_breakdown WHERE tenant_id = $1",
    ],
)
async def test_where_categories_and_total_differ_the_ledger_says_which_is_wrong(here: World, wrong: str) -> None:
    tenant = await here.sign_up(stored(1, 60, tenant=uuid4()))
    await query(here.dsn.superuser, wrong, tenant)
    before = calculations("access").get("corrected", 0)
    assert await here.calculator.calculate(tenant, datetime.now(UTC), "access")
    assert calculations("access")["corrected"] == before + 1
    for table, sums in (("tenant_usage", "bytes, files"), ("usage_breakdown", "total_size, file_count")):
        sql = f"SELECT {sums}, trashed_bytes, version_files FROM {table} WHERE tenant_id = $1"
        assert [tuple(row) for row in await query(here.dsn.worker, sql, tenant)] == [(60, 1, 0, 0)]
    assert (await here.get(tenant))[1]["total_used"] == 60
    adjusted = await query(here.dsn.superuser, "SELECT reason, position FROM counter_adjustment")
    assert [tuple(row) for row in adjusted] == [("calculation", 1)]
    told = await query(here.dsn.superuser, "SELECT type FROM outbox_event WHERE tenant_id = $1", tenant)
    assert [row["type"] for row in told] == ["usage.recalculated"]


async def test_a_total_that_was_too_low_passes_its_thresholds_when_it_is_put_right(here: World) -> None:
    tenant = uuid4()
    await here.sign_up(granted(1, 100, tenant=tenant), stored(1, 60, tenant=tenant), stored(2, 25, tenant=tenant))
    await query(here.dsn.superuser, "UPDATE tenant_usage SET bytes = 60 WHERE tenant_id = $1", tenant)
    for table in ("alert", "threshold_state"):
        await query(here.dsn.superuser, f"DELETE FROM {table}")
    assert await here.calculator.calculate(tenant, datetime.now(UTC), "access")
    alerts = await query(here.dsn.superuser, "SELECT value, used FROM alert WHERE tenant_id = $1", tenant)
    assert [tuple(row) for row in alerts] == [(80, 85)]


async def test_without_the_ledger_nothing_is_put_right_and_nothing_calculated(here: World) -> None:
    tenant = await here.sign_up(stored(1, 60, tenant=uuid4()))
    await here.age(tenant, HALF_A_DAY)
    await query(here.dsn.superuser, "UPDATE tenant_usage SET bytes = 61 WHERE tenant_id = $1", tenant)
    here.folds.reachable = False
    before = calculations("access").get("failed", 0)
    assert not await here.calculator.calculate(tenant, datetime.now(UTC), "access")
    assert calculations("access")["failed"] == before + 1
    body = (await here.get(tenant))[1]
    assert (body["total_used"], body["age_seconds"] > 12 * 3600) == (60, True)
    [counted] = await query(here.dsn.superuser, "SELECT bytes FROM tenant_usage WHERE tenant_id = $1", tenant)
    assert counted["bytes"] == 61


async def test_the_owner_is_the_newest(here: World) -> None:
    tenant, heir = await here.sign_up(), uuid4()
    await here.apply(told(tenant, 2, TenantUpdated, owner=heir))
    await here.calculator.calculate(tenant, datetime.now(UTC), "access")
    assert (await here.get(tenant))[1]["user_id"] == str(heir)


async def test_fifty_reads_of_an_old_figure_are_answered_while_it_is_calculated(here: World) -> None:
    tenant = await here.sign_up(stored(1, 60, tenant=uuid4()))
    await here.apply(stored(2, 10, tenant=tenant))
    await here.age(tenant, HALF_A_DAY)
    before = calculations("access").get("done", 0)
    async with Database(here.dsn.worker) as other:
        workers = [asyncio.create_task(here.calculator.run()) for _ in range(2)]
        while len(await query(here.dsn.superuser, _LISTENING, f'LISTEN "{CHANNEL}"%', f"LISTEN {CHANNEL}%")) < 2:
            await asyncio.sleep(0.01)
        async with other.transaction() as connection:
            # Whoever calculates waits here.
            await connection.execute("SELECT FROM tenant WHERE tenant_id = $1 FOR UPDATE", tenant)
            async with asyncio.timeout(10):
                answers = await asyncio.gather(*(here.get(tenant) for _ in range(50)))
            assert {(status, body["total_used"]) for status, body in answers} == {(200, 60)}
            assert min(body["age_seconds"] for _, body in answers) > 12 * 3600
        async with asyncio.timeout(10):
            while (await here.get(tenant))[1]["total_used"] != 70:
                await asyncio.sleep(0.02)
        for worker in workers:
            worker.cancel()
        for worker in workers:
            with suppress(asyncio.CancelledError):
                await worker
    assert calculations("access")["done"] == before + 1


_LISTENING = "SELECT 1 FROM pg_stat_activity WHERE query ILIKE $1 OR query ILIKE $2"


async def test_of_many_at_once_one_calculates(here: World) -> None:
    tenant = await here.sign_up()
    await here.age(tenant, HALF_A_DAY)
    before = calculations("access").get("done", 0)
    since = datetime.now(UTC) - rules.STALE
    async with Database(here.dsn.worker) as other:
        both = here.calculator, replace(here, worker=other).calculator
        await asyncio.gather(*(both[n % 2].calculate(tenant, since, "access") for n in range(50)))
    assert calculations("access")["done"] == before + 1


async def test_notices_that_name_nobody_end_nothing(here: World) -> None:
    tenant = await here.sign_up()
    await here.age(tenant, HALF_A_DAY)
    running = asyncio.create_task(here.calculator.run())
    wake = Wake(here.worker, CHANNEL)
    async with asyncio.timeout(10):
        while (await here.get(tenant))[1]["age_seconds"] > 60:
            for payload in ("", "nobody", str(uuid4())):
                wake.set(payload)
            await asyncio.sleep(0.02)
    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_files_that_come_while_it_is_calculated(here: World) -> None:
    tenant = await here.sign_up()

    async def store() -> None:
        for seq in range(1, 41):
            await here.apply(stored(seq, 10, tenant=tenant))

    async def calculate() -> None:
        for _ in range(40):
            assert await here.calculator.calculate(tenant, datetime.now(UTC), "access")

    before = calculations("access").get("corrected", 0)
    await asyncio.gather(store(), calculate(), calculate())
    await calculate()
    assert (await here.get(tenant))[1]["total_used"] == 400
    assert calculations("access").get("corrected", 0) == before, "the counters were right all the time"


async def test_it_waits_for_files_whose_commit_is_under_way(here: World) -> None:
    tenant = await here.sign_up(stored(1, 60, tenant=uuid4()))
    async with here.worker.transaction() as connection:
        await here.apply_within(connection, stored(2, 10, tenant=tenant))
        calculating = asyncio.create_task(query(here.dsn.worker, "SELECT calculate_storage_usage($1)", tenant))
        sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%calculate_storage_usage%'"
        async with asyncio.timeout(5):
            while not await query(here.dsn.superuser, sql):
                await asyncio.sleep(0.01)
    assert (await calculating)[0][0] == 70
    found = await query(here.dsn.worker, "SELECT bytes FROM tenant_usage WHERE tenant_id = $1", tenant)
    assert found[0]["bytes"] == (await here.get(tenant))[1]["total_used"] == 70


async def test_once_a_day_from_the_hour_on(here: World) -> None:
    tenants = [await here.sign_up() for _ in range(3)]
    day = datetime.now(UTC).date()
    clock = FixedClock(datetime(day.year, day.month, day.day, 2, 59, tzinfo=UTC))
    for tenant in tenants:
        await here.age(tenant, timedelta(hours=25))

    async def run() -> list[tuple[int, int]]:
        await asyncio.gather(
            *(CalculationSchedule(here.worker, here.calculator, clock, 3).run_when_due() for _ in "ab")
        )
        rows = await query(here.dsn.worker, "SELECT tenants, failed FROM calculation_run ORDER BY day")
        return [tuple(row) for row in rows]

    assert await run() == []
    clock.advance(timedelta(minutes=1))
    before = calculations("schedule").get("done", 0)
    assert await run() == [(3, 0)]
    assert await run() == [(3, 0)]
    assert calculations("schedule")["done"] == before + 3
    for tenant in tenants:
        assert (await here.get(tenant))[1]["age_seconds"] < 60


async def test_one_that_fails_holds_up_no_other(here: World) -> None:
    broken, whole = sorted([await here.sign_up(), await here.sign_up()])
    for tenant in (broken, whole):
        await here.age(tenant, timedelta(hours=25))
    # A size no column can hold.
    await query(here.dsn.superuser, "UPDATE tenant_usage SET position = 1 WHERE tenant_id = $1", broken)
    sql = "INSERT INTO usage_breakdown VALUES ($1, 'image', 'x', 1, $2, now()), ($1, 'video', 'y', 1, $2, now())"
    await query(here.dsn.superuser, sql, broken, 2**63 - 1)
    schedule = CalculationSchedule(here.worker, here.calculator, FixedClock(datetime.now(UTC)), 3)
    assert await schedule.run(datetime.now(UTC)) == (2, 1)
    assert (await here.get(whole))[1]["age_seconds"] < 60
    assert (await here.get(broken))[1]["age_seconds"] > 24 * 3600


@given(st.timedeltas(timedelta(0), timedelta(days=2)))
def test_old_is_older_than_twelve_hours(age: timedelta) -> None:
    assert rules.is_stale(START, START + age) == (age > timedelta(hours=12))


@given(st.lists(st.tuples(st.sampled_from([UUID(int=1), UUID(int=2)]), st.integers(0, 99), st.booleans())))
def test_days_lose_nothing(what: list[tuple[UUID, int, bool]]) -> None:
    records = [deleted(n * 9_000, size, tenant=tenant, trashed=t) for n, (tenant, size, t) in enumerate(what)]
    days = rules.days_of(record.event for record in records)  # type: ignore[misc]
    assert sum(left.bytes for left in days.values()) == sum(size for _, size, _ in what)
    assert sum(left.files for (_, _, kind), left in days.items() if kind == "trash") == sum(t for _, _, t in what)
