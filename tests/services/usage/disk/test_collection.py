"""Runs, from the engine's socket to the tables."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from services.usage.counters.service import CounterService
from services.usage.disk.collection import DiskCollection
from services.usage.disk.engine import DockerEngine
from services.usage.disk.repository import DiskRepository
from services.usage.disk.rules import Labels
from services.usage.disk.schemas import DiskOut
from services.usage.disk.service import DiskService
from services.usage.thresholds.repository import ThresholdRepository
from services.usage.thresholds.rules import Level, Threshold
from services.usage.thresholds.service import ThresholdService
from services.usage.thresholds.sweep import Sweep
from shared.clock import FixedClock
from shared.db import Database
from shared.events import Metric
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.disk.engines import Engine, image, labels, own, volume

FOUR = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
TENANT, PROJECT = uuid4(), uuid4()
COUNTERS = CounterService(ThresholdService(), FixedClock(FOUR))


@pytest.fixture
async def engine() -> Engine:
    return own(TENANT, PROJECT, volumes=[10, 20], images=[(120, 100), (130, 100)])


@pytest.fixture
async def url(engine: Engine) -> AsyncIterator[str]:
    with TemporaryDirectory(prefix="stowage-") as folder:
        async with engine.at(Path(folder) / "s") as url:
            yield url


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(FOUR)


def collection(database: Database, url: str | None, clock: FixedClock, **options: float) -> DiskCollection:
    engine = None if url is None else DockerEngine(url, **options)  # type: ignore[arg-type]
    return DiskCollection(database, engine, Labels("stowage.tenant", "stowage.project"), COUNTERS, clock)


async def runs(database: Database) -> list[dict[str, Any]]:
    """Oldest first."""
    async with database.acquire() as connection:
        return [dict(row) for row in await connection.fetch("SELECT * FROM disk_run ORDER BY requested_at, id")]


async def outcomes(database: Database) -> list[str]:
    return [run["status"] for run in await runs(database)]


async def newest(database: Database, tenant: UUID = TENANT) -> DiskOut:
    found = await DiskService(database, FixedClock(FOUR)).newest(tenant)
    for name in ("volumes_bytes", "images_bytes", "total_bytes", "volumes", "images", "unknown"):
        assert sum(getattr(project, name) for project in found.projects) == getattr(found.total, name)
    return found


async def ask(database: Database, at: datetime = FOUR) -> UUID:
    return (await DiskService(database, FixedClock(at)).request_run(None)).id


async def test_projects_and_nobody(
    app_db: Database, worker_db: Database, engine: Engine, url: str, clock: FixedClock
) -> None:
    other, stranger = uuid4(), (uuid4(), uuid4())
    engine.volumes = [
        *(engine.volumes or []),
        volume(-1, labels(TENANT, PROJECT)),
        volume(5, labels(TENANT, other)),
        volume(7, labels(*stranger)),
        volume(1000),
        volume(2000, labels("acme", "web")),
        volume(-1, {"com.docker.compose.project": "x"}),
    ]
    engine.images = [*(engine.images or []), image(40, 30), image(50, 30, {"stowage.project": str(PROJECT)})]
    await collection(worker_db, url, clock).run_when_due()
    found = await newest(app_db)
    assert found.as_of == FOUR
    # By what they take, the base of both images counted once.
    assert [(p.project_id, p.volumes_bytes, p.images_bytes) for p in found.projects] == [
        (PROJECT, 30, 150),
        (other, 5, 0),
    ]
    assert (found.projects[0].volumes, found.projects[0].images, found.projects[0].unknown) == (3, 2, 1)
    assert (await newest(app_db, stranger[0])).total.total_bytes == 7
    [run] = await runs(worker_db)
    assert (run["status"], run["error"], run["engine"], run["api"]) == ("done", None, "Docker/27.3.1 (linux)", "1.45")
    assert (run["projects"], run["volumes_bytes"], run["images_bytes"]) == (3, 42, 150)
    assert (run["unassigned_volumes_bytes"], run["unassigned_images_bytes"]) == (3000, 60)
    assert (run["unassigned"], run["mislabelled"], run["unknown"]) == (5, 2, 2)
    assert metric("bytes", kind="volumes") == 42
    assert metric("bytes", kind="unassigned_images") == 60
    assert metric("last_success_seconds") == FOUR.timestamp()


def metric(name: str, **kind: str) -> float | None:
    return REGISTRY.get_sample_value(f"stowage_usage_disk_{name}", kind)


async def test_once_a_day_from_four_on(worker_db: Database, url: str, clock: FixedClock) -> None:
    clock.advance(timedelta(minutes=-1))
    disk = collection(worker_db, url, clock)

    async def count() -> int:
        await disk.run_when_due()
        return len(await runs(worker_db))

    assert await count() == 0
    clock.advance(timedelta(minutes=1))
    assert [await count(), await count()] == [1, 1]
    clock.advance(timedelta(hours=23))
    assert await count() == 1
    clock.advance(timedelta(hours=1))
    assert await count() == 2


async def test_two_workers_look_once(worker_db: Database, engine: Engine, url: str, clock: FixedClock) -> None:
    engine.trouble = "hang"
    workers = [collection(worker_db, url, clock) for _ in range(4)]
    running = [asyncio.create_task(worker.run_when_due()) for worker in workers]
    await engine.arrived.wait()
    engine.going_on.set()
    await asyncio.gather(*running)
    await asyncio.gather(*(worker.run_when_due() for worker in workers))
    assert await outcomes(worker_db) == ["done"]
    assert len(engine.asked) == 2


async def test_on_demand_replaces_the_day(
    app_db: Database, worker_db: Database, engine: Engine, url: str, clock: FixedClock
) -> None:
    disk = collection(worker_db, url, clock)
    await disk.run_when_due()
    engine.volumes, engine.images = [volume(99, labels(TENANT, other := uuid4()))], []
    clock.advance(timedelta(hours=3))
    await ask(app_db, clock.now())
    await disk.run_when_due()
    found = await newest(app_db)
    # What is gone is gone.
    assert [(p.project_id, p.total_bytes) for p in found.projects] == [(other, 99)]
    assert found.as_of == FOUR + timedelta(hours=3)
    history = await DiskService(app_db, clock).history(TENANT, None, None, None)
    assert [(day.day, day.total_bytes, day.taken_at) for day in history.days] == [
        (FOUR.date(), 99, FOUR + timedelta(hours=3))
    ]


async def test_one_asked_for_before_four_does_not_stand_for_the_daily_one(
    app_db: Database, worker_db: Database, url: str, clock: FixedClock
) -> None:
    clock.advance(timedelta(hours=-1))
    disk = collection(worker_db, url, clock)
    await ask(app_db, clock.now())
    await disk.run_when_due()
    clock.advance(timedelta(hours=1))
    await disk.run_when_due()
    assert await outcomes(worker_db) == ["done", "done"]
    assert [d.taken_at for d in (await DiskService(app_db, clock).history(TENANT, None, None, None)).days] == [FOUR]


async def test_all_who_ask_while_a_run_waits_get_that_one(app_db: Database, worker_db: Database, url: str) -> None:
    asked = await asyncio.gather(*(ask(app_db) for _ in range(8)))
    assert len(set(asked)) == 1
    await collection(worker_db, url, FixedClock(FOUR)).run_when_due()
    assert await ask(app_db) not in asked, "that one has looked already"
    assert await outcomes(worker_db) == ["done", "waiting"]


async def test_asked_for_while_one_runs_comes_after_it(
    app_db: Database, worker_db: Database, engine: Engine, url: str, clock: FixedClock
) -> None:
    engine.trouble = "hang"
    disk = collection(worker_db, url, clock)
    running = asyncio.create_task(disk.run_when_due())
    await engine.arrived.wait()
    await ask(app_db, FOUR + timedelta(seconds=1))
    await disk.run_when_due()  # as another worker would
    assert await outcomes(worker_db) == ["running", "waiting"]
    engine.going_on.set()
    await running
    await disk.run_when_due()
    assert await outcomes(worker_db) == ["done", "done"]


async def test_history(app_db: Database, worker_db: Database, engine: Engine, url: str, clock: FixedClock) -> None:
    disk, other = collection(worker_db, url, clock), uuid4()
    sizes = [[(PROJECT, 10)], [(PROJECT, 20), (other, 5)], [], [(other, 7)]]
    for day, them in enumerate(sizes):
        engine.volumes, engine.images = [volume(size, labels(TENANT, project)) for project, size in them], []
        if day != 2:
            await disk.run_when_due()
        clock.advance(timedelta(days=1))
    engine.volumes = []
    await disk.run_when_due()

    async def days(project: UUID | None, first: int | None = None, last: int | None = None) -> list[tuple[int, int]]:
        limits = [None if day is None else date(2026, 3, day) for day in (first, last)]
        found = await DiskService(app_db, clock).history(TENANT, project, *limits)
        assert found.last == (limits[1] or clock.now().date())
        assert found.first == (limits[0] or found.last - timedelta(days=29))
        return [(day.day.day, day.total_bytes) for day in found.days]

    # The third day was not measured; on the fifth nothing was there.
    assert await days(None) == [(1, 10), (2, 25), (4, 7), (5, 0)]
    assert await days(PROJECT) == [(1, 10), (2, 20), (4, 0), (5, 0)]
    assert await days(other, 2, 4) == [(2, 5), (4, 7)]
    assert (await newest(app_db)).projects == []


async def test_nothing_is_known_before_the_first_run(app_db: Database) -> None:
    found = await newest(app_db)
    assert (found.as_of, found.projects, found.total.total_bytes) == (None, [], 0)


async def test_an_absent_engine_is_told_once_and_tried_again_hourly(
    app_db: Database, worker_db: Database, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "services.usage.disk")
    with TemporaryDirectory(prefix="stowage-") as folder:
        path = Path(folder) / "s"
        disk = collection(worker_db, f"unix://{path}", clock, limit=100_000)
        before = metric("failures_total", reason="absent") or 0
        for _ in range(4):
            await disk.run_when_due()
            clock.advance(timedelta(minutes=30))
        assert await outcomes(worker_db) == ["failed", "failed"]
        assert metric("failures_total", reason="absent") == before + 2
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        engine = own(TENANT, PROJECT, volumes=[3])
        async with engine.at(path):
            engine.trouble = "500"
            await disk.run_when_due()
            engine.trouble = None
            clock.advance(timedelta(hours=1))
            await disk.run_when_due()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]
    assert (await newest(app_db)).total.total_bytes == 3
    assert await outcomes(worker_db) == ["failed"] * 3 + ["done"]


async def test_a_failure_leaves_the_figures_alone(
    app_db: Database, worker_db: Database, engine: Engine, url: str, clock: FixedClock
) -> None:
    disk = collection(worker_db, url, clock, patience=0.2, limit=100_000)
    await disk.run_when_due()
    before = await newest(app_db)
    for trouble in ("500", "garbage", "cut", "huge", "hang"):
        engine.trouble = trouble
        await ask(app_db)
        await disk.run_when_due()
    assert await newest(app_db) == before
    errors = [run["error"].split(":")[0] for run in await runs(worker_db) if run["error"]]
    assert sorted(errors) == ["broken", "status", "timeout", "too_large", "unreadable"]


async def test_without_an_engine_nothing_is_daily_and_a_request_is_refused(
    app_db: Database, worker_db: Database, clock: FixedClock
) -> None:
    disk = collection(worker_db, None, clock)
    await disk.run_when_due()
    assert await runs(worker_db) == []
    await ask(app_db)
    await disk.run_when_due()
    [run] = await runs(worker_db)
    assert (run["status"], run["error"]) == ("failed", "off: DOCKER_URL is not set")


async def test_a_worker_that_dies_leaves_no_run_open(
    app_db: Database, worker_db: Database, engine: Engine, url: str, clock: FixedClock
) -> None:
    """Its connection ends with it, and so does the lock."""
    engine.trouble = "hang"
    running = asyncio.create_task(collection(worker_db, url, clock).run_when_due())
    await engine.arrived.wait()
    mine = (
        "FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    async with worker_db.acquire() as connection:
        await connection.fetch(f"SELECT pg_terminate_backend(pid) {mine}")
        while await connection.fetchval(f"SELECT true {mine}"):
            await asyncio.sleep(0.01)
    engine.trouble = None
    other = collection(worker_db, url, clock)
    await ask(app_db, FOUR + timedelta(seconds=1))
    engine.volumes = [volume(1, labels(TENANT, PROJECT))]
    await other.run_when_due()
    assert await outcomes(worker_db) == ["failed", "done"]
    # The one given up for dead answers late, and changes nothing.
    engine.volumes = [volume(10**9, labels(TENANT, PROJECT))]
    engine.going_on.set()
    await running
    assert (await newest(app_db)).total.volumes_bytes == 1
    assert [run["error"] for run in await runs(worker_db)] == ["its process died", None]


async def test_old_failures_are_forgotten(worker_db: Database, clock: FixedClock) -> None:
    disk = collection(worker_db, "unix:///nowhere", clock)
    await disk.run_when_due()
    clock.advance(timedelta(days=91))
    await disk.run_when_due()
    assert [run["requested_at"] for run in await runs(worker_db)] == [FOUR + timedelta(days=91)]


async def test_a_tenant_sees_its_own_only_and_the_http_process_too(
    app_db: Database, worker_db: Database, url: str, clock: FixedClock
) -> None:
    await collection(worker_db, url, clock).run_when_due()
    assert (await newest(app_db, uuid4())).projects == []
    async with app_db.transaction(uuid4()) as connection:
        assert not await connection.fetch("SELECT 1 FROM disk_usage")
        # Row security and not the statement alone.
        assert [row["project_id"] for row in await DiskRepository(connection).list_newest(TENANT)] == [None]
        assert not await DiskRepository(connection).knows(TENANT, PROJECT)


async def test_thresholds_of_disks_are_judged_when_they_are_measured(
    usage_db: ServiceDatabase, worker_db: Database, engine: Engine, url: str, clock: FixedClock
) -> None:
    counters = CounterService(ThresholdService(), clock)
    chosen = [Threshold(Level("amount", value)) for value in (100, 10**6)]
    async with worker_db.transaction() as connection:
        await counters.rescale(connection, TENANT, "disk", chosen, None)

    async def rang() -> list[tuple[str, int]]:
        rows = await query(
            usage_db.superuser, "SELECT type, body::jsonb ->> 'amount' AS n FROM outbox_event ORDER BY seq"
        )
        return [(row["type"].split(".")[1], int(row["n"])) for row in rows]

    collector = collection(worker_db, url, clock)
    for _ in range(2):  # measured twice, said once
        await ask(worker_db)
        await collector.run_when_due()
    assert await rang() == [("crossed", 100)]
    assert await Sweep(worker_db, counters, clock).run() == (1, 0)
    async with worker_db.transaction() as connection:  # with the inline way broken
        await connection.execute("UPDATE disk_usage SET volumes_bytes = 1000000")
    assert await Sweep(worker_db, counters, clock).run() == (1, 1)
    assert await rang() == [("crossed", 100), ("crossed", 10**6)]
    engine.volumes, engine.images = [], []
    await ask(worker_db)
    await collector.run_when_due()
    assert (await rang())[2:] == [("cleared", 10**6), ("cleared", 100)], "what is there no more takes nothing"


async def test_thresholds_chosen_while_disks_are_measured_are_never_missed(
    usage_db: ServiceDatabase, worker_db: Database, url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = CounterService(ThresholdService(), clock)
    choosing = list[asyncio.Task[None]]()
    listed = ThresholdRepository.list_concerned

    async def choose() -> None:
        async with worker_db.transaction() as connection:
            await counters.rescale(connection, TENANT, "disk", [Threshold(Level("amount", 1))], None)

    async def list_and_choose(self: ThresholdRepository, metric: Metric) -> list[UUID]:
        """Somebody chooses right after the collection has looked who has chosen."""
        found = await listed(self, metric)
        choosing.append(asyncio.create_task(choose()))
        await asyncio.wait(choosing, timeout=0.5)
        return found

    monkeypatch.setattr(ThresholdRepository, "list_concerned", list_and_choose)
    await ask(worker_db)
    async with asyncio.timeout(60):
        await collection(worker_db, url, clock).run_when_due()
        await asyncio.gather(*choosing)
    assert await Sweep(worker_db, counters, clock).run() == (1, 0)
    assert len(await query(usage_db.superuser, "SELECT value FROM threshold_state WHERE reached")) == 1
