"""What is left of a tenant that is gone (S4.14)."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from services.usage.tenants.erasure import ERASED, KEPT, Eraser
from shared.events import TenantDeleted, TenantUpdated
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.samples import PEOPLE, PROJECTS, File, deleted, granted, stored, told, traffic, trashed
from tests.services.usage.test_isolation import fill
from tests.services.usage.world import World, world

_TABLES = """
    SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
"""


@pytest.fixture
async def here(usage_db: ServiceDatabase) -> AsyncIterator[World]:
    async with world(usage_db, "shared") as made:
        yield made


async def left(dsn: ServiceDatabase, tenant: UUID) -> set[str]:
    """Tables with something of the tenant."""
    found = set()
    for table in (*ERASED, "tenant_usage", "usage_breakdown", "tenant"):
        if await query(dsn.superuser, f"SELECT 1 FROM {table} WHERE tenant_id = $1", tenant):
            found.add(table)
    return found


async def test_every_table_is_erased_or_kept_for_a_reason(usage_db: ServiceDatabase) -> None:
    tables = {row["relname"] for row in await query(usage_db.superuser, _TABLES)}
    assert tables <= {*ERASED, *KEPT, "outbox_cursor"}
    assert set(ERASED) <= tables


async def test_what_is_kept_says_nothing_of_people(here: World) -> None:
    gone, stays = await fill(here.dsn.worker), await fill(here.dsn.worker)
    await here.provisioner.settle()
    before = await left(here.dsn, stays)
    assert before >= set(ERASED)
    await here.apply(told(gone, 2, TenantDeleted))
    await here.provisioner.settle()
    assert await left(here.dsn, gone) == {"tenant_usage", "usage_breakdown", "tenant"}
    assert await left(here.dsn, stays) == before
    row = (await query(here.dsn.superuser, "SELECT * FROM tenant WHERE tenant_id = $1", gone))[0]
    assert (row["slug"], row["name"], row["owner_id"]) == ("", "", UUID(int=0))
    usage = (await query(here.dsn.superuser, "SELECT * FROM tenant_usage WHERE tenant_id = $1", gone))[0]
    assert (usage["position"], usage["bytes"]) == (1, 90), "what a proof is made of"


async def test_files_of_a_tenant_that_is_gone_still_go_one_by_one(here: World) -> None:
    """Its last events come after it: they count down to nothing, and what they bring is forgotten again."""
    tenant, now = uuid4(), datetime.now(UTC)
    mine = {"tenant": tenant, "project": PROJECTS[0], "by": PEOPLE[0]}
    await here.apply(told(tenant), granted(1, 100, tenant=tenant), stored(1, 90, **mine), stored(2, 5, **mine))  # type: ignore[arg-type]
    await here.apply(trashed(3, File(5, project=PROJECTS[0], by=PEOPLE[0]), tenant=tenant))
    await here.provisioner.settle()
    eraser = Eraser(here.worker)
    assert await eraser.run() == 0
    await here.apply(told(tenant, 2, TenantDeleted))
    await here.provisioner.settle()
    await here.apply(deleted(4, 90, **mine), traffic(1, now, (None, 1, 1, 1), tenant=tenant))  # type: ignore[arg-type]
    await here.apply(deleted(5, 5, trashed=True, **mine), told(tenant, 3, TenantUpdated))  # type: ignore[arg-type]
    assert await left(here.dsn, tenant) > {"user_usage", "project_storage", "tenant_month"}
    assert await eraser.run() == 1
    assert await left(here.dsn, tenant) == {"tenant_usage", "tenant"}
    rows = await query(here.dsn.superuser, "SELECT position, bytes, files FROM tenant_usage")
    assert [tuple(row) for row in rows] == [(5, 0, 0)]
    assert await eraser.run() == 0


async def test_nobody_is_forgotten_who_is_not_gone(here: World) -> None:
    tenant = await fill(here.dsn.worker)
    assert await Eraser(here.worker).run() == 0
    assert await left(here.dsn, tenant) >= set(ERASED)
