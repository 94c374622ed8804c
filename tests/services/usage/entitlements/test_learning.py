"""A tenant that no event has told of yet."""

import pytest

from services.usage.entitlements.rules import Terms
from services.usage.errors import EntitlementsUnknown
from shared.db import Database
from tests.services.usage.parts import parts
from tests.services.usage.samples import TENANT, granted, stored


async def test_a_new_tenant_is_looked_up_once(app_db: Database, worker_db: Database) -> None:
    usage = parts(app_db, worker_db)
    for _ in range(3):
        found = await usage.reader.read(TENANT)
    assert (found.position, found.bytes, found.limit, found.plan) == (0, 0, 100, "free")
    assert usage.billing.asked == 1


async def test_without_billing_the_answer_is_unknown_never_a_guess(app_db: Database, worker_db: Database) -> None:
    usage = parts(app_db, worker_db)
    usage.billing.terms = None
    await usage.apply(stored(1, 10))
    with pytest.raises(EntitlementsUnknown):
        await usage.reader.read(TENANT)


async def test_what_is_learnt_is_judged_at_once(app_db: Database, worker_db: Database) -> None:
    usage = parts(app_db, worker_db)
    await usage.apply(stored(1, 96))
    found = await usage.reader.read(TENANT)
    assert {level.value for level in found.reached} == {80, 95}
    assert usage.announced == [True], "the relay is told"
    await usage.apply(granted(1, 100))
    async with worker_db.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM alert") == 2


async def test_an_event_that_was_faster_stays(app_db: Database, worker_db: Database) -> None:
    usage = parts(app_db, worker_db)
    await usage.apply(granted(2, 1000, plan="pro"))
    async with app_db.transaction(TENANT) as connection:
        await usage.counters.grant(connection, TENANT, Terms(1, "free", 100), None)
    assert (await usage.reader.read(TENANT)).plan == "pro"
    assert usage.billing.asked == 0
