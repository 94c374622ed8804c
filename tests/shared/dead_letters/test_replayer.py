"""Replayed exactly once, whoever does it and wherever it dies."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.db import Database
from shared.dead_letters import replayer
from shared.dead_letters.errors import AlreadyResolved, NotReplayable
from shared.dead_letters.replayer import Replayer
from shared.dead_letters.service import DeadLetterService
from shared.kafka import Record
from shared.kafka.dead_letters import DeadLetters, Failed
from shared.outbox import Wake
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.shared.kafka.samples import record

BY = "somebody"


class Died(BaseException):
    """As a killed process would end."""


@pytest.fixture
async def created(pg: PostgresServer) -> ServiceDatabase:
    made = pg.create("usage")
    await query(made.superuser, "CREATE TABLE effect (tenant_id uuid, seq bigint)")
    await query(made.superuser, "GRANT ALL ON effect TO usage_worker")
    return made


@pytest.fixture
async def database(created: ServiceDatabase) -> AsyncIterator[Database]:
    async with Database(created.worker) as made:
        yield made


@pytest.fixture
def letters(database: Database) -> DeadLetterService:
    return DeadLetterService(database, lambda: None)


async def apply(connection: Any, records: Sequence[Record]) -> None:
    rows = [(r.tenant_id, r.seq) for r in records if r.event is not None]
    await connection.executemany("INSERT INTO effect VALUES ($1, $2)", rows)


async def bury(database: Database, *records: Record, left_out: bool = True, group: str = "test") -> list[UUID]:
    """As the consumer does."""
    failed = [Failed.of(r, ZeroDivisionError("once"), left_out=left_out) for r in records]
    async with database.transaction() as connection:
        await DeadLetters(database, group, "").insert(connection, failed)
        rows = await connection.fetch("SELECT id FROM dead_letter WHERE group_name = $1 ORDER BY seq", group)
    return [row["id"] for row in rows]


async def effects(database: Database) -> list[int]:
    async with database.acquire() as connection:
        return [row["seq"] for row in await connection.fetch("SELECT seq FROM effect ORDER BY seq")]


async def state(letters: DeadLetterService, letter: UUID) -> tuple[str, int, bool, str]:
    """State, attempts, whether it is asked for, and the error."""
    row = await letters.get(letter)
    return row["state"], row["attempts"], row["replay_requested_at"] is not None, row["error"]


async def test_only_what_is_asked_for_and_only_once(database: Database, letters: DeadLetterService) -> None:
    tenant, committed = uuid4(), list[Record]()
    first, _ = await bury(database, record(tenant, 5), record(tenant, 6))
    worker = Replayer(database, "test", apply, on_committed=committed.extend)
    await worker.work()
    assert await effects(database) == []
    await letters.replay(first, BY)
    await letters.replay(first, "somebody else")  # the same request
    for _ in range(2):
        await worker.work()
    assert await effects(database) == [5]
    assert [r.seq for r in committed] == [5]
    row = await letters.get(first)
    assert (row["state"], row["attempts"], row["resolved_by"], row["reason"]) == ("replayed", 1, BY, None)
    assert row["resolved_at"] is not None
    for again in (letters.replay(first, BY), letters.discard(first, BY, "late")):
        with pytest.raises(AlreadyResolved):
            await again
    assert await letters.replay_all(None, BY) == 1
    await worker.work()
    assert await effects(database) == [5, 6]


async def test_two_workers_at_once_share_and_double_nothing(database: Database, letters: DeadLetterService) -> None:
    meeting, tenant = asyncio.Barrier(2), uuid4()

    async def together(connection: Any, records: Sequence[Record]) -> None:
        await asyncio.wait_for(meeting.wait(), 5)  # each holds a letter while the other holds one
        await apply(connection, records)

    await bury(database, *(record(tenant, seq) for seq in range(1, 11)))
    assert await letters.replay_all(None, BY) == 10
    await asyncio.gather(*(Replayer(database, "test", together).work() for _ in range(2)))
    assert await effects(database) == list(range(1, 11))
    assert await letters.list_newest(50, None, None, "waiting") == []


async def test_a_worker_that_dies_leaves_it_as_it_was(database: Database, letters: DeadLetterService) -> None:
    async def deadly(connection: Any, records: Sequence[Record]) -> None:
        await apply(connection, records)
        raise Died

    (letter,) = await bury(database, record(uuid4(), 1))
    await letters.replay(letter, BY)
    with pytest.raises(Died):
        await Replayer(database, "test", deadly).work()
    assert await effects(database) == []
    assert (await state(letters, letter))[:3] == ("waiting", 0, True)
    await Replayer(database, "test", apply).work()
    assert await effects(database) == [1]
    assert (await state(letters, letter))[:2] == ("replayed", 1)


async def test_one_cut_off_after_its_effect_is_replayed_once(database: Database, letters: DeadLetterService) -> None:
    applied = asyncio.Event()

    async def hanging(connection: Any, records: Sequence[Record]) -> None:
        await apply(connection, records)
        applied.set()
        await asyncio.Event().wait()

    (letter,) = await bury(database, record(uuid4(), 1))
    await letters.replay(letter, BY)
    dying = asyncio.create_task(Replayer(database, "test", hanging).run())
    await asyncio.wait_for(applied.wait(), 5)
    dying.cancel()
    with suppress(asyncio.CancelledError):
        await dying
    await Replayer(database, "test", apply).work()
    assert await effects(database) == [1]


async def test_one_that_fails_again_waits_again(database: Database, letters: DeadLetterService) -> None:
    broken = True

    async def moody(connection: Any, records: Sequence[Record]) -> None:
        await apply(connection, records)
        if broken and records[0].seq == 1:
            await connection.execute("SELECT 1 / 0")

    first, second = await bury(database, record(uuid4(), 1), record(uuid4(), 2))
    worker = Replayer(database, "test", moody)
    await letters.replay_all(None, BY)
    await worker.work()
    assert await effects(database) == [2], "one that fails is in nobody's way"
    told = await state(letters, first)
    assert told == ("waiting", 1, False, "DivisionByZeroError: division by zero")
    assert (await state(letters, second))[0] == "replayed"
    await worker.work()
    assert (await state(letters, first))[1] == 1, "only who asks again gets another attempt"
    broken = False
    await letters.replay(first, BY)
    await worker.work()
    assert await effects(database) == [1, 2]
    assert (await state(letters, first))[:2] == ("replayed", 2)


async def test_in_the_order_of_the_stream(database: Database, letters: DeadLetterService) -> None:
    seen = list[int]()
    tenant = uuid4()
    await bury(database, *(record(tenant, seq) for seq in range(1, 8)))
    await letters.replay_all(None, BY)
    await Replayer(database, "test", apply, on_committed=lambda records: seen.append(records[0].seq)).work()
    assert seen == list(range(1, 8))


async def test_trouble_that_passes_is_waited_for(
    database: Database, letters: DeadLetterService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replayer, "POLL", 0.01)
    attempts, done = 0, asyncio.Event()

    async def shaky(connection: Any, records: Sequence[Record]) -> None:
        nonlocal attempts
        attempts += 1
        await apply(connection, records)
        if attempts < 3:
            raise ConnectionResetError

    (letter,) = await bury(database, record(uuid4(), 1))
    await letters.replay(letter, BY)
    running = asyncio.create_task(Replayer(database, "test", shaky, on_committed=lambda _r: done.set()).run())
    await asyncio.wait_for(done.wait(), 10)
    running.cancel()
    assert attempts == 3
    assert await effects(database) == [1]
    assert (await state(letters, letter))[:2] == ("replayed", 1)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda r: replace(r, body=b"\xff{"), "ValidationError"),
        (lambda r: replace(r, type="file.sung"), "UnknownEventType"),
        (lambda r: replace(r, tenant_id=uuid4()), "another tenant"),
    ],
    ids=["unreadable", "unknown", "foreign"],
)
async def test_what_cannot_be_read_stays(
    database: Database, letters: DeadLetterService, spoil: Callable[[Record], Record], error: str
) -> None:
    (letter,) = await bury(database, spoil(record(uuid4(), 1)))
    await letters.replay(letter, BY)
    await Replayer(database, "test", apply).work()
    told = await state(letters, letter)
    assert told[:3] == ("waiting", 1, False)
    assert error in told[3]
    assert await effects(database) == []


async def test_what_was_not_left_out_is_never_replayed(database: Database, letters: DeadLetterService) -> None:
    (letter,) = await bury(database, record(uuid4(), 1), left_out=False)
    with pytest.raises(NotReplayable):
        await letters.replay(letter, BY)
    assert await letters.replay_all(None, BY) == 0
    async with database.acquire() as connection:
        await connection.execute("UPDATE dead_letter SET replay_requested_at = now()")
    await Replayer(database, "test", apply).work()
    assert await effects(database) == []


async def test_discarded_meanwhile_or_too_late(database: Database, letters: DeadLetterService) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def slow(connection: Any, records: Sequence[Record]) -> None:
        begun.set()
        await release.wait()
        await apply(connection, records)

    first, second = await bury(database, record(uuid4(), 1), record(uuid4(), 2))
    await letters.replay(first, BY)
    await letters.discard(first, BY, "not worth it")
    await letters.replay(second, BY)
    working = asyncio.create_task(Replayer(database, "test", slow).work())
    await asyncio.wait_for(begun.wait(), 5)
    late = asyncio.create_task(letters.discard(second, BY, "too late"))
    await _blocked(database)
    release.set()
    with pytest.raises(AlreadyResolved):
        await late
    await working
    assert await effects(database) == [2]
    row = await letters.get(first)
    assert (row["state"], row["reason"], row["resolved_by"]) == ("discarded", "not worth it", BY)
    assert row["replay_requested_at"] is None


async def _blocked(database: Database) -> None:
    """Until somebody waits for a row."""
    async with asyncio.timeout(5), database.acquire() as connection:
        while not await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)


async def test_another_groups_letters_are_not_touched(database: Database, letters: DeadLetterService) -> None:
    await bury(database, record(uuid4(), 1), group="other")
    assert await letters.replay_all("alerts.v1", BY) == 0
    assert await letters.replay_all("files.v1", BY) == 1
    await Replayer(database, "test", apply).work()
    assert await effects(database) == []


async def test_asking_wakes_the_worker_and_those_that_wait_are_counted(
    database: Database, created: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a poll of a minute only the notice can bring it in time.
    monkeypatch.setattr(replayer, "POLL", 60.0)
    done = asyncio.Event()
    first, _ = await bury(database, record(uuid4(), 1), record(uuid4(), 2), group="woken")
    running = asyncio.create_task(Replayer(database, "woken", apply, on_committed=lambda _r: done.set()).run())
    await _waiting("woken", 2)
    async with Database(created.app) as app:
        await DeadLetterService(app, Wake(app, replayer.CHANNEL).set).replay(first, BY)
        await asyncio.wait_for(done.wait(), 10)
    await _waiting("woken", 1)
    running.cancel()


async def _waiting(group: str, count: int) -> None:
    async with asyncio.timeout(5):
        while replayer.WAITING.labels(group, "files.v1")._value.get() != count:
            await asyncio.sleep(0.01)
