"""A plan that grants a schema: the tenant gets one, whichever is heard of first, and goes back when the plan ends."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from shared.events import TenantDeleted
from tests.fixtures.postgres import ServiceDatabase
from tests.services.usage.samples import granted, stored, told
from tests.services.usage.world import World, world


@pytest.fixture
async def here(usage_db: ServiceDatabase) -> AsyncIterator[World]:
    async with world(usage_db, "shared") as made:
        yield made


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("plan_first", [True, False])
async def test_a_schema_where_the_plan_grants_one(here: World, *, plan_first: bool, together: bool) -> None:
    tenant = uuid4()
    news = [told(tenant), granted(1, None, tenant=tenant, isolation="schema")]
    news = news[::-1] if plan_first else news
    for batch in [news] if together else [[record] for record in news]:
        await here.apply(*batch)
    await here.provisioner.settle()
    assert await here.place_of(tenant) == "schema"
    assert await here.schema_of(tenant) in await here.schemas()


async def test_there_and_back_with_the_plan(here: World) -> None:
    tenant = await here.sign_up(stored(1, 60, tenant=uuid4()))
    places = []
    for version, isolation in ((2, "schema"), (3, "schema"), (4, "shared"), (5, "schema")):
        await here.apply(granted(version, None, tenant=tenant, isolation=isolation))  # type: ignore[arg-type]
        await here.provisioner.settle()
        places.append(await here.place_of(tenant))
        assert (await here.get(tenant))[1]["total_used"] == 60
    assert places == ["schema", "schema", "shared", "schema"]


async def test_an_older_plan_changes_nothing(here: World) -> None:
    tenant = await here.sign_up()
    await here.apply(granted(3, None, tenant=tenant), granted(2, None, tenant=tenant, isolation="schema"))
    await here.apply(granted(1, None, tenant=tenant, isolation="schema"))
    await here.provisioner.settle()
    assert await here.place_of(tenant) == "shared"


async def test_what_an_administrator_chose_stays_while_the_plan_says_the_same(here: World) -> None:
    chosen, granted_one = await here.sign_up(), await here.sign_up()
    await here.put(chosen, "schema")
    await here.apply(granted(2, None, tenant=chosen))
    await here.apply(granted(2, None, tenant=granted_one, isolation="schema"))
    await here.put(granted_one, "shared")
    await here.apply(granted(3, None, tenant=granted_one, isolation="schema"))
    await here.provisioner.settle()
    assert [await here.place_of(chosen), await here.place_of(granted_one)] == ["schema", "shared"]


async def test_a_tenant_that_is_gone_gets_no_schema(here: World) -> None:
    tenant = await here.sign_up()
    await here.apply(told(tenant, 2, TenantDeleted))
    await here.apply(granted(2, None, tenant=tenant, isolation="schema"))
    await here.provisioner.settle()
    assert await here.place_of(tenant) is None


async def test_two_workers_hear_one_half_each(here: World) -> None:
    """Neither sees what the other has not committed yet: the later one has to."""
    tenants = [uuid4() for _ in range(20)]
    for tenant in tenants:
        await asyncio.gather(here.apply(told(tenant)), here.apply(granted(1, None, tenant=tenant, isolation="schema")))
    await here.provisioner.settle()
    assert [await here.place_of(tenant) for tenant in tenants] == ["schema"] * 20


@pytest.mark.parametrize("plan_first", [True, False])
async def test_the_later_one_waits_for_the_first(here: World, *, plan_first: bool) -> None:
    tenant = uuid4()
    news = [told(tenant), granted(1, None, tenant=tenant, isolation="schema")]
    first, later = news[::-1] if plan_first else news
    async with here.worker.transaction() as connection:
        await here.apply_within(connection, first)
        waiting = asyncio.create_task(here.apply(later))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    await waiting
    await here.provisioner.settle()
    assert await here.place_of(tenant) == "schema"
