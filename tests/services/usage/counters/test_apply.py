"""A batch's effects on a real database."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from services.usage.counters.repository import CounterRepository
from services.usage.counters.service import CounterService
from services.usage.counters.snapshot import Snapshot
from services.usage.entitlements.rules import Terms
from services.usage.thresholds.service import ThresholdService
from shared.clock import FixedClock
from shared.db import Database
from shared.kafka.records import Record
from tests.services.usage.samples import (
    KINDS,
    PEOPLE,
    PROJECTS,
    START,
    TENANT,
    File,
    adjusted,
    deleted,
    granted,
    moved,
    replaced,
    restored,
    stored,
    trace,
    trashed,
)

counters = CounterService(ThresholdService(), FixedClock(START))


async def apply(database: Database, records: Sequence[Record]) -> None:
    async with database.transaction() as connection:
        await counters.apply(connection, records)


async def usage(database: Database, tenant: UUID = TENANT) -> Snapshot:
    async with database.transaction() as connection:
        found = await CounterRepository(connection).find_snapshot(tenant)
    assert found is not None
    assert sum(part.total_size for part in found.breakdown) == found.bytes
    assert sum(part.file_count for part in found.breakdown) == found.files
    for name in ("trashed_bytes", "trashed_files", "version_bytes", "version_files"):
        assert sum(getattr(part, name) for part in found.breakdown) == getattr(found, name)
    return found


async def alerts(database: Database) -> list[tuple[int, int, bool]]:
    """(percent, armed, cleared), as they came."""
    async with database.acquire() as connection:
        rows = await connection.fetch(
            "SELECT value, armed, cleared_at IS NOT NULL AS cleared FROM alert ORDER BY at, value"
        )
    return [(row["value"], row["armed"], row["cleared"]) for row in rows]


async def announced(database: Database) -> list[tuple[int, str, int, str]]:
    """(seq, type, percent, traceparent) of what went to the outbox."""
    async with database.acquire() as connection:
        rows = await connection.fetch("SELECT seq, type, body, traceparent FROM outbox_event ORDER BY tenant_id, seq")
    return [(row["seq"], row["type"], orjson.loads(row["body"])["percent"], row["traceparent"]) for row in rows]


async def test_adjustments_put_counters_and_breakdown_right(worker_db: Database) -> None:
    await apply(worker_db, [stored(1, 10), stored(2, 5, KINDS[2])])
    await apply(worker_db, [adjusted(3, 7, 2, KINDS[1], partial=True), adjusted(4, -10, -1), adjusted(5, 0, 0)])
    found = await usage(worker_db)
    assert (found.position, found.bytes, found.files) == (5, 12, 3)
    assert {(p.file_type, p.category): (p.file_count, p.total_size) for p in found.breakdown} == {
        KINDS[1]: (2, 7),
        KINDS[2]: (1, 5),
    }


async def test_counters_and_breakdown(worker_db: Database) -> None:
    await apply(worker_db, [stored(1, 10), stored(2, 5, KINDS[2]), stored(3, 7)])
    await apply(worker_db, [deleted(4, 10), stored(5, 0, KINDS[1])])
    found = await usage(worker_db)
    assert (found.position, found.bytes, found.files) == (5, 12, 3)
    assert {(p.file_type, p.category): (p.file_count, p.total_size) for p in found.breakdown} == {
        KINDS[0]: (1, 7),
        KINDS[1]: (1, 0),
        KINDS[2]: (1, 5),
    }


async def test_replaced_moved_trashed_kept(worker_db: Database) -> None:
    first, second = File(10), File(4, KINDS[2])
    batch = [stored(1, 10), replaced(2, first, second, kept=True), stored(3, 10, version=True)]
    batch += [moved(4, second, File(4, KINDS[1])), trashed(5, File(4, KINDS[1]))]
    for _ in range(2):
        await apply(worker_db, batch)
    found = await usage(worker_db)
    assert (found.position, found.bytes, found.files) == (5, 14, 2)
    assert (found.trashed_bytes, found.trashed_files, found.version_bytes, found.version_files) == (4, 1, 10, 1)
    assert {(p.file_type, p.category): p.total_size for p in found.breakdown} == {KINDS[0]: 10, KINDS[1]: 4}
    hidden = {(p.file_type, p.category): (p.trashed_bytes, p.version_bytes) for p in found.breakdown}
    assert hidden == {KINDS[0]: (0, 10), KINDS[1]: (4, 0)}
    await apply(worker_db, [restored(6, File(4, KINDS[1])), deleted(7, 10, version=True)])
    await apply(worker_db, [trashed(8, File(4, KINDS[1])), deleted(9, 4, KINDS[1], trashed=True)])
    found = await usage(worker_db)
    assert (found.bytes, found.files, found.breakdown) == (0, 0, [])
    assert (found.trashed_bytes, found.trashed_files, found.version_bytes, found.version_files) == (0, 0, 0, 0)


async def test_a_whole_batch_again_changes_nothing(worker_db: Database) -> None:
    batch = [granted(1, 100), stored(1, 85), deleted(2, 85), stored(3, 96)]
    await apply(worker_db, batch)
    before = await usage(worker_db), await alerts(worker_db), await announced(worker_db)
    for _ in range(3):
        await apply(worker_db, batch)
    after = await usage(worker_db), await alerts(worker_db), await announced(worker_db)
    assert after[1:] == before[1:]
    assert after[0].model_copy(update={"as_of": before[0].as_of}) == before[0]


async def test_up_down_up_in_one_batch_is_three_announcements_each_in_its_trace(worker_db: Database) -> None:
    await apply(worker_db, [granted(1, 100), stored(1, 85), deleted(2, 85), stored(3, 85)])
    assert await alerts(worker_db) == [(80, 1, True), (80, 2, False)]
    assert await announced(worker_db) == [
        (1, "threshold.crossed", 80, trace(1)),
        (2, "threshold.cleared", 80, trace(2)),
        (3, "threshold.crossed", 80, trace(3)),
    ]


async def test_several_crossed_at_once(worker_db: Database) -> None:
    await apply(worker_db, [granted(1, 100)])
    await apply(worker_db, [stored(1, 100)])
    assert await alerts(worker_db) == [(80, 1, False), (95, 1, False), (100, 1, False)]
    async with worker_db.acquire() as connection:
        bodies = [
            orjson.loads(row["body"]) for row in await connection.fetch("SELECT body FROM outbox_event ORDER BY seq")
        ]
    assert [(body["percent"], body["speaks"]) for body in bodies] == [(80, False), (95, False), (100, True)]


async def test_several_crossed_by_several_files_of_one_batch(worker_db: Database) -> None:
    """People are told of the highest that stands, once; what was left again meanwhile is only recorded."""
    await apply(worker_db, [granted(1, 100), stored(1, 85), stored(2, 11), stored(3, 4), deleted(4, 4)])
    assert await alerts(worker_db) == [(80, 1, False), (95, 1, False), (100, 1, True)]
    assert await spoken(worker_db) == [(80, False), (95, True), (100, False)]
    await apply(worker_db, [deleted(5, 85), stored(6, 85), stored(7, 3), deleted(8, 85)])
    assert (await spoken(worker_db))[3:] == [(80, False), (95, False)]
    async with worker_db.acquire() as connection:
        rows = await connection.fetch("SELECT speaks FROM alert ORDER BY at, value")
    assert [row["speaks"] for row in rows] == [told for _, told in await spoken(worker_db)]


async def spoken(database: Database) -> list[tuple[int, bool]]:
    """(percent, speaks) of the crossings announced."""
    async with database.acquire() as connection:
        rows = await connection.fetch("SELECT body FROM outbox_event WHERE type = 'threshold.crossed' ORDER BY seq")
    return [(body["percent"], body["speaks"]) for body in (orjson.loads(row["body"]) for row in rows)]


async def test_a_higher_limit_clears(worker_db: Database) -> None:
    await apply(worker_db, [granted(1, 100), stored(1, 96)])
    await apply(worker_db, [granted(2, 1000, plan="pro")])
    assert await alerts(worker_db) == [(80, 1, True), (95, 1, True)]
    assert [kind for _, kind, _, _ in await announced(worker_db)][2:] == ["threshold.cleared"] * 2
    await apply(worker_db, [granted(1, 100)])
    found = await usage(worker_db)
    assert (found.version, found.plan, found.limit) == (2, "pro", 1000), "an older version changes nothing"


async def test_unlimited_never_alerts(worker_db: Database) -> None:
    await apply(worker_db, [granted(1, None), stored(1, 2**40)])
    assert await alerts(worker_db) == []


async def test_an_unknown_limit_is_judged_when_it_becomes_known(worker_db: Database) -> None:
    await apply(worker_db, [stored(1, 90)])
    assert await alerts(worker_db) == []
    async with worker_db.transaction() as connection:
        await counters.grant(connection, TENANT, Terms(1, "free", 100), trace(9))
    assert await alerts(worker_db) == [(80, 1, False)]
    assert await announced(worker_db) == [(1, "threshold.crossed", 80, trace(9))]


async def test_tenants_of_one_batch_stay_apart(worker_db: Database) -> None:
    tenants = [uuid4() for _ in range(20)]
    batch = [stored(seq, n + 1, tenant=t) for seq in (1, 2, 3) for n, t in enumerate(tenants)]
    await apply(worker_db, batch)
    assert [(await usage(worker_db, t)).bytes for t in tenants] == [3 * (n + 1) for n in range(20)]


async def test_both_processes_at_once_alert_once(worker_db: Database, app_db: Database) -> None:
    """The worker counts while the HTTP process learns the terms of the same tenants."""
    tenants = [uuid4() for _ in range(10)]

    async def learn(tenant: UUID) -> None:
        async with app_db.transaction(tenant) as connection:
            await counters.grant(connection, tenant, Terms(1, "free", 100), None)

    first = apply(worker_db, [stored(1, 30, tenant=t) for t in tenants])
    await asyncio.gather(first, *(learn(t) for t in tenants for _ in range(3)))
    await apply(worker_db, [stored(seq, 30, tenant=t) for t in tenants for seq in (2, 3)])
    await asyncio.gather(*(learn(t) for t in tenants))
    async with worker_db.acquire() as connection:
        rows = await connection.fetch("SELECT tenant_id, value FROM alert")
    assert sorted((row["tenant_id"], row["value"]) for row in rows) == sorted((t, 80) for t in tenants)


async def test_what_cannot_be_is_refused_by_the_table(worker_db: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await apply(worker_db, [stored(1, 5), deleted(2, 6)])
    async with worker_db.transaction() as connection:
        assert await CounterRepository(connection).find_snapshot(TENANT) is None


async def test_more_than_an_int_holds(worker_db: Database) -> None:
    await apply(worker_db, [granted(1, 2**52), stored(1, 2**50), stored(2, 2**50)])
    assert (await usage(worker_db)).bytes == 2**51


async def test_one_left_out_is_counted_when_it_comes_again(worker_db: Database) -> None:
    late, last = moved(2, File(10), File(10, KINDS[2])), stored(4, 85)
    await apply(worker_db, [granted(1, 100), stored(1, 10), stored(3, 1)])
    for record in (late, last):
        async with worker_db.transaction() as connection:
            await counters.count_left_out(connection, record)
    found = await usage(worker_db)
    assert (found.position, found.bytes, found.files) == (4, 96, 3)
    assert {(p.file_type, p.category): p.total_size for p in found.breakdown} == {KINDS[0]: 86, KINDS[2]: 10}
    assert await alerts(worker_db) == [(80, 1, False), (95, 1, False)]
    await apply(worker_db, [late, last])
    assert (await usage(worker_db)).bytes == 96


async def test_what_went_into_the_trash_unseen_is_there_when_it_comes_again(worker_db: Database) -> None:
    """Its kind, project and person may not be known yet: their files were gone past, too."""
    file = File(7, KINDS[1], project=PROJECTS[0], by=PEOPLE[0])
    late = trashed(2, file)
    await apply(worker_db, [granted(1, 100), stored(3, 1)])
    for record in (late, stored(1, 7, KINDS[1], project=PROJECTS[0], by=PEOPLE[0])):
        async with worker_db.transaction() as connection:
            await counters.count_left_out(connection, record)
    found = await usage(worker_db)
    assert (found.bytes, found.trashed_bytes, found.trashed_files) == (8, 7, 1)
    for table in ("usage_breakdown", "project_storage", "user_usage"):
        async with worker_db.acquire() as connection:
            rows = await connection.fetch(f"SELECT * FROM {table} WHERE trashed_files > 0")
        assert [(row["trashed_bytes"], row["trashed_files"], row["version_files"]) for row in rows] == [(7, 1, 0)]
