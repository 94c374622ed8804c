import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from services.usage.live import service
from services.usage.live.service import CHANNEL
from shared.db import Database
from shared.outbox import Wake
from tests.services.usage.parts import Parts, parts
from tests.services.usage.samples import TENANT, granted, stored


@pytest.fixture
async def usage(app_db: Database, worker_db: Database) -> AsyncIterator[Parts]:
    """Listening."""
    made = parts(app_db, worker_db)
    listening = asyncio.create_task(made.changes.run())
    await asyncio.sleep(0.1)
    yield made
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_an_answer_that_is_there_comes_at_once(usage: Parts) -> None:
    await usage.apply(granted(1, 100), stored(1, 10))
    async with asyncio.timeout(5):
        assert (await usage.live.wait(TENANT, 0, None, 20)).bytes == 10


async def test_a_commit_wakes_at_once(usage: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RECHECK", 60)
    await usage.apply(granted(1, 100))
    waiting = [asyncio.create_task(usage.live.wait(TENANT, 0, None, 20)) for _ in range(3)]
    await asyncio.sleep(1.1)  # the look under way at the old interval is over
    await usage.apply(stored(1, 10))
    Wake(usage.worker, CHANNEL).set(str(TENANT))
    async with asyncio.timeout(5):
        assert [found.bytes for found in await asyncio.gather(*waiting)] == [10, 10, 10]
    assert not usage.changes._watching, "nobody is left waiting"


async def test_a_lost_notice_costs_a_second(usage: Parts) -> None:
    await usage.apply(granted(1, 100))
    waiting = asyncio.create_task(usage.live.wait(TENANT, 0, None, 20))
    await asyncio.sleep(0.1)
    await usage.apply(stored(1, 10))
    async with asyncio.timeout(2):
        assert (await waiting).position == 1


async def test_new_terms_end_the_wait_too(usage: Parts) -> None:
    await usage.apply(granted(1, 100))
    waiting = asyncio.create_task(usage.live.wait(TENANT, 0, 1, 20))
    await asyncio.sleep(0.1)
    await usage.apply(granted(2, 1000))
    Wake(usage.worker, CHANNEL).set(str(TENANT))
    async with asyncio.timeout(5):
        assert (await waiting).limit == 1000


async def test_when_time_is_up_it_says_how_it_stands(usage: Parts) -> None:
    await usage.apply(granted(1, 100), stored(1, 10))
    found = await usage.live.wait(TENANT, 1, None, 0.2)
    assert (found.position, found.bytes) == (1, 10)


async def test_others_are_left_asleep(usage: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RECHECK", 60)
    await asyncio.sleep(1.1)
    with usage.changes.watch(TENANT) as mine, usage.changes.watch(uuid4()) as theirs:
        Wake(usage.worker, CHANNEL).set(str(TENANT))
        async with asyncio.timeout(5):
            await mine.wait()
        assert not theirs.is_set()
