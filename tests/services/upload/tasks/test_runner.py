"""Tasks against the real database: each until it succeeds, by one worker at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from services.upload.tasks import repository
from services.upload.tasks.rules import LONGEST, pause
from services.upload.tasks.runner import Handler, TaskRunner
from shared.db import Database
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query

TENANT = uuid4()


@pytest.fixture
async def dsn(pg: PostgresServer) -> ServiceDatabase:
    found = pg.create("upload")
    await query(
        found.superuser,
        "INSERT INTO tenant_storage (tenant_id, plan, entitlements_version) VALUES ($1, 'free', 1)",
        TENANT,
    )
    return found


@pytest.fixture
async def database(dsn: ServiceDatabase) -> AsyncIterator[Database]:
    async with Database(dsn.worker) as found:
        yield found


async def task(dsn: ServiceDatabase, kind: str = "scan") -> UUID:
    file = uuid4()
    await query(
        dsn.superuser,
        "INSERT INTO stored_file (id, tenant_id, path, name, size, content_type, file_type, category, sha256,"
        " created_at) VALUES ($1::uuid, $2, $1::text, 'a', 1, 'a/b', 'other', 'documents', '', now())",
        file,
        TENANT,
    )
    await query(
        dsn.superuser, "INSERT INTO file_task (tenant_id, file_id, kind) VALUES ($1, $2, $3)", TENANT, file, kind
    )
    return file


async def waiting(dsn: ServiceDatabase) -> list[dict[str, object]]:
    return [dict(row) for row in await query(dsn.superuser, "SELECT * FROM file_task ORDER BY file_id")]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def until_done(dsn: ServiceDatabase) -> None:
    async with asyncio.timeout(10):
        while await waiting(dsn):
            await asyncio.sleep(0.05)


@asynccontextmanager
async def working(
    database: Database, handler: Handler, kind: str = "scan", lease: float = 30.0, concurrency: int = 4
) -> AsyncIterator[TaskRunner]:
    runner = TaskRunner(database, {kind: handler}, concurrency=concurrency, lease=timedelta(seconds=lease))
    running = asyncio.create_task(runner.run())
    yield runner
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_pauses_double_up_to_five_minutes() -> None:
    assert [pause(attempts).total_seconds() for attempts in (1, 2, 3, 8)] == [2, 4, 8, 256]
    assert pause(9) == pause(10_000) == LONGEST


async def test_a_task_is_done_once_and_gone(database: Database, dsn: ServiceDatabase) -> None:
    files = {await task(dsn) for _ in range(20)}
    other = await task(dsn, "unheard of")
    seen: list[tuple[UUID, UUID]] = []

    async def handle(tenant: UUID, file: UUID) -> None:
        seen.append((tenant, file))

    async with working(database, handle), working(database, handle):
        async with asyncio.timeout(20):
            while [row["file_id"] for row in await waiting(dsn)] != [other]:
                await asyncio.sleep(0.02)
    assert sorted(seen) == sorted((TENANT, file) for file in files)


async def test_what_fails_stays_visible_and_is_tried_again(
    database: Database, dsn: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.upload.tasks.runner.pause", lambda _: timedelta(seconds=0.5))
    file, tries = await task(dsn), 0

    async def handle(*_: object) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError("the scanner\0 is away")

    async with working(database, handle):
        await until(lambda: tries == 1)
        await asyncio.sleep(0.1)
        (row,) = await waiting(dsn)
        assert (row["file_id"], row["attempts"]) == (file, 1)
        assert "scanner" in str(row["error"])
        await until(lambda: tries == 3)
        await until_done(dsn)


async def test_no_more_at_once_than_hands(database: Database, dsn: ServiceDatabase) -> None:
    for _ in range(9):
        await task(dsn)
    now = most = 0

    async def handle(*_: object) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1

    async with working(database, handle, concurrency=3):
        await until_done(dsn)
    assert most == 3


async def test_a_long_task_stays_with_its_worker(database: Database, dsn: ServiceDatabase) -> None:
    """Three leases long, while another worker looks for work."""
    await task(dsn)
    seen = 0

    async def handle(*_: object) -> None:
        nonlocal seen
        seen += 1
        await asyncio.sleep(1.2)

    async with working(database, handle, lease=0.4), working(database, handle, lease=0.4):
        await until_done(dsn)
    assert seen == 1


async def test_a_dead_workers_task_is_taken_over(database: Database, dsn: ServiceDatabase) -> None:
    file = await task(dsn)
    async with database.acquire() as connection:
        (dead,) = await repository.claim(connection, ["scan"], timedelta(seconds=0.3), 9)
    seen: list[UUID] = []

    async def handle(_: UUID, file: UUID) -> None:
        seen.append(file)

    async with working(database, handle):
        await until_done(dsn)
    assert (seen, dead.attempts) == ([file], 1)


async def test_a_worker_told_to_stop_gives_back(database: Database, dsn: ServiceDatabase) -> None:
    await task(dsn)
    begun = asyncio.Event()

    async def handle(*_: object) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with working(database, handle):
        await begun.wait()
    async with database.acquire() as connection:
        (again,) = await repository.claim(connection, ["scan"], timedelta(seconds=9), 9)
    assert again.attempts == 1


async def test_a_task_set_anew_while_it_runs_runs_again(database: Database, dsn: ServiceDatabase) -> None:
    """The file was replaced: the first run may have seen the old bytes."""
    file, seen = await task(dsn), 0

    async def handle(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            async with database.transaction() as connection:
                await connection.execute("UPDATE file_task SET attempts = 0, due_at = now() WHERE file_id = $1", file)

    async with working(database, handle):
        await until_done(dsn)
    assert seen == 2


async def test_waiting_tasks_are_counted(database: Database, dsn: ServiceDatabase) -> None:
    await task(dsn)
    async with database.acquire() as connection:
        assert await repository.count(connection) == {"scan": 1}
