"""Schemas of tenants: made, made twice, moved into and out of, dropped, and closed to everybody else."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.usage.schemas.provisioner import Provisioner
from services.usage.schemas.verify import verify_schemas
from shared.db import Database, migrate
from shared.events import TenantDeleted, TenantUpdated
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.samples import deleted, stored, told
from tests.services.usage.world import World, world

COLUMNS = ["total_used", "last_calculation", "storage_categories", "cleanup_history", "user_id"]

_SETTLE = """
import asyncio, sys
from services.usage.schemas.provisioner import Provisioner
from shared.db import Database

async def main():
    async with Database(sys.argv[1]) as database:
        await Provisioner(database).settle()

asyncio.run(main())
"""


@pytest.fixture
async def here(usage_db: ServiceDatabase) -> AsyncIterator[World]:
    async with world(usage_db, "schema") as made:
        yield made


async def row(here: World, tenant: UUID) -> dict[str, Any]:
    """What lies in the tenant's schema."""
    rows = await query(here.dsn.superuser, f"SELECT * FROM {await here.schema_of(tenant)}.storage_management")
    assert len(rows) == 1
    return dict(rows[0])


async def clients(here: World) -> int:
    return sum(name.startswith("client_") for name in await here.schemas())


@pytest.mark.alone
async def test_a_thousand(here: World) -> None:
    tenants = [uuid4() for _ in range(1000)]
    await here.apply(*(told(tenant) for tenant in tenants), *(stored(1, 60, tenant=t) for t in tenants[:10]))
    begun = time.monotonic()
    async with Database(here.dsn.worker) as other:
        made = await asyncio.gather(here.provisioner.settle(), Provisioner(other).settle())
    seconds = time.monotonic() - begun
    print(f"1,000 schemas by two workers in {seconds:.1f} s: {1000 / seconds:.0f} a second")  # noqa: T201
    assert sum(made) == 1000
    assert min(made) > 0, "both had their part"
    assert seconds < 60
    assert await clients(here) == 1000
    assert [(await here.get(tenant))[1]["total_used"] for tenant in tenants[8:12]] == [60, 60, 0, 0]
    async with Database(here.dsn.owner) as owner, owner.acquire() as connection:
        assert await verify_schemas(connection) == []


async def test_as_the_template_says(here: World) -> None:
    tenant = await here.sign_up(stored(1, 60, tenant=uuid4()))
    found = await row(here, tenant)
    assert list(found) == COLUMNS
    assert (found["total_used"], found["user_id"]) == (60, tenant)
    await query(here.dsn.owner, "CREATE TABLE template.invoices (id int PRIMARY KEY, sum bigint NOT NULL DEFAULT 7)")
    other = await here.sign_up()
    await query(here.dsn.worker, f"INSERT INTO {await here.schema_of(other)}.invoices VALUES (1)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await query(here.dsn.worker, f"INSERT INTO {await here.schema_of(other)}.invoices VALUES (1)")


async def test_twice_is_once(here: World) -> None:
    tenant = uuid4()
    await here.sign_up(stored(1, 60, tenant=tenant), stored(2, 5, tenant=tenant), deleted(3, 5, tenant=tenant))
    before = await row(here, tenant)
    assert await here.provisioner.settle() == 0
    await here.apply(told(tenant), told(tenant, 2, TenantUpdated))
    assert await here.provisioner.settle() == 0
    for _ in range(2):
        made = await query(here.dsn.worker, "SELECT provision_client_schema($1)", tenant)
        assert made[0][0] == await here.schema_of(tenant)
    after = await row(here, tenant)
    assert after.pop("last_calculation") > before.pop("last_calculation")
    assert after == before


@pytest.mark.parametrize("damage", ["DROP SCHEMA {s} CASCADE", "DROP TABLE {s}.storage_management"])
async def test_what_was_damaged_by_hand_is_made_again(here: World, damage: str) -> None:
    tenant = uuid4()
    await here.sign_up(stored(1, 60, tenant=tenant), stored(2, 5, tenant=tenant), deleted(3, 5, tenant=tenant))
    before = (await here.get(tenant))[1]
    await query(here.dsn.owner, damage.format(s=await here.schema_of(tenant)))
    assert (await here.get(tenant))[1]["code"] == "storage_not_calculated"
    await query(here.dsn.worker, "SELECT provision_client_schema($1)", tenant)
    after = (await here.get(tenant))[1]
    assert {**after, "age_seconds": 0, "last_calculation": ""} == {**before, "age_seconds": 0, "last_calculation": ""}


async def test_many_at_once_make_one(here: World) -> None:
    tenants = [uuid4() for _ in range(5)]
    await here.apply(*(told(tenant) for tenant in tenants))
    calls = [
        query(here.dsn.worker, "SELECT provision_client_schema($1)", tenant) for tenant in tenants for _ in range(5)
    ]
    await asyncio.gather(*calls, here.provisioner.settle())
    assert await clients(here) == 5
    for tenant in tenants:
        assert (await row(here, tenant))["user_id"] == tenant


async def test_killed_in_the_middle(here: World) -> None:
    tenants = [uuid4() for _ in range(6)]
    await here.apply(*(told(tenant) for tenant in tenants))
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _SETTLE, here.dsn.worker],
        cwd=migrate.ROOT,
        env={**os.environ, "FAULT": "usage.provision:3"},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    async with asyncio.timeout(5):  # for the server to notice and roll back
        while await here.provisioner.settle() or await clients(here) < 6:
            await asyncio.sleep(0.02)
    assert [(await row(here, tenant))["user_id"] for tenant in tenants] == tenants


async def test_there_and_back_loses_nothing(here: World) -> None:
    tenant = uuid4()
    await here.sign_up(stored(1, 60, tenant=tenant), stored(2, 30, tenant=tenant), deleted(3, 30, tenant=tenant))
    home = await here.schema_of(tenant)
    first = (await here.get(tenant))[1]
    assert first["cleanup_history"] == [{"at": "2026-03-01", "kind": "files", "bytes": 30, "files": 1}]
    changing = first.keys() - {"last_calculation", "age_seconds", "isolation"}
    for isolation in ("shared", "shared", "schema", "schema", "shared"):
        await here.put(tenant, isolation)
        body = (await here.get(tenant))[1]
        assert body["isolation"] == await here.place_of(tenant) == isolation
        assert {name: body[name] for name in changing} == {name: first[name] for name in changing}
        assert (home in await here.schemas()) == (isolation == "schema"), "nothing is left behind"
        rows = await query(here.dsn.superuser, "SELECT 1 FROM storage_management WHERE tenant_id = $1", tenant)
        assert len(rows) == (isolation == "shared")
    await here.put(tenant, "schema")
    assert await here.schema_of(tenant) == home, "its number is its own"


async def test_reads_and_files_while_it_moves(here: World) -> None:
    tenant = await here.sign_up(stored(1, 10, tenant=uuid4()))
    done = asyncio.Event()

    async def move() -> None:
        for _ in range(10):
            await here.put(tenant, "shared")
            await here.put(tenant, "schema")
        done.set()

    async def read() -> int:
        reads = 0
        while not done.is_set():
            status, body = await here.get(tenant)
            assert (status, body["total_used"] % 10) == (200, 0)
            reads += 1
        return reads

    async def store() -> None:
        for seq in range(2, 42):
            await here.apply(stored(seq, 10, tenant=tenant))

    async with asyncio.timeout(60):
        _, reads, _, _ = await asyncio.gather(move(), read(), read(), store())
    assert reads > 20
    assert await here.calculator.calculate(tenant, datetime.now(UTC), "access")
    assert (await here.get(tenant))[1]["total_used"] == 410


async def test_a_deleted_tenant_takes_its_schema_along(here: World) -> None:
    gone, stays = await here.sign_up(), await here.sign_up()
    await here.apply(told(gone, 2, TenantDeleted))
    assert await here.provisioner.settle() == 1
    assert await here.schema_of(gone) not in await here.schemas()
    assert await here.schema_of(stays) in await here.schemas()
    assert (await here.get(gone))[0] == 503
    await here.apply(stored(1, 10, tenant=gone))
    assert await here.provisioner.settle() == 0
    with pytest.raises(asyncpg.NoDataFoundError):
        await query(here.dsn.worker, "SELECT provision_client_schema($1)", gone)


async def test_one_that_fails_holds_up_no_other(here: World) -> None:
    first, second = sorted([uuid4(), uuid4()])
    await here.apply(told(first), told(second))
    await query(here.dsn.superuser, f"CREATE SCHEMA {await here.schema_of(first)} AUTHORIZATION postgres")
    assert await here.provisioner.settle() == 1
    assert [await here.place_of(tenant) for tenant in (first, second)] == [None, "schema"]
    await query(here.dsn.superuser, f"DROP SCHEMA {await here.schema_of(first)}")
    assert await here.provisioner.settle() == 1


@pytest.mark.parametrize("role", ["app", "worker"])
async def test_nobody_else_gets_in(here: World, role: str) -> None:
    mine, theirs = await here.sign_up(), await here.sign_up(stored(1, 60, tenant=uuid4()))
    strange = await here.schema_of(theirs)
    forbidden = [
        f"SELECT clone_client_schema('{theirs}')",
        f"SELECT drop_client_schema('{theirs}')",
        f"SELECT provision_client_schema('{theirs}')",
        f"SELECT provision_shared_storage('{theirs}')",
        f"SELECT remove_storage('{theirs}')",
        f"SELECT calculate_storage_usage('{theirs}')",
        f"SELECT calculate_client_storage_usage('{strange}')",
        f"SELECT cleanup_history('{theirs}')",
        f"SELECT * FROM {strange}.storage_management",
        f"UPDATE {strange}.storage_management SET total_used = 0",
        f"SELECT * FROM {await here.schema_of(mine)}.storage_management",
        "UPDATE tenant SET number = DEFAULT",
        "UPDATE tenant SET owner_id = tenant_id",
        "UPDATE tenant SET place = 'shared'",
        "DELETE FROM tenant",
        "INSERT INTO storage_management (tenant_id) SELECT gen_random_uuid()",
        "UPDATE storage_management SET total_used = 0",
    ]
    if role == "worker":
        forbidden = [f"DROP SCHEMA {strange} CASCADE", f"DELETE FROM {strange}.storage_management"]
    else:
        forbidden.append(f"CREATE TABLE {strange}.x ()")
    for statement in [*forbidden, "CREATE SCHEMA client_999", "SELECT * FROM template.storage_management"]:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with Database(getattr(here.dsn, role)) as database, database.transaction(mine) as connection:
                await connection.execute(statement)
    async with Database(here.dsn.app) as database, database.transaction(mine) as connection:
        rows = await connection.fetch("SELECT user_id FROM client_storage()")
        assert [found["user_id"] for found in rows] == [mine]
    assert await query(here.dsn.app, "SELECT * FROM client_storage()") == [], "nobody is nobody"


@pytest.mark.parametrize(
    "name",
    [
        "public",
        "template",
        "pg_catalog",
        "client_",
        "client_0",
        "client_01",
        "client_-1",
        "client_999999",
        "client_" + "9" * 40,
        "Client_{n}",
        "client_{n} ",
        " client_{n}",
        "client_{n}\n",
        "client_{n}.storage_management; DROP TABLE tenant_usage; --",
        "client_{n}'; DROP TABLE tenant_usage; --",
        'client_{n}"; DROP SCHEMA template CASCADE; --',
        "client_{n}, public",
        "",
        None,
    ],
)
async def test_names_that_are_no_clients_schema(here: World, name: str | None) -> None:
    own = await here.schema_of(await here.sign_up())
    name = name and name.replace("client_{n}", own).replace("Client_{n}", own.title())
    with pytest.raises(asyncpg.InvalidSchemaNameError):
        await query(here.dsn.worker, "SELECT calculate_client_storage_usage($1)", name)
    assert (await query(here.dsn.worker, "SELECT calculate_client_storage_usage($1)", own))[0][0] == 0


async def test_a_schema_that_is_no_clients_any_more(here: World) -> None:
    tenant = await here.sign_up()
    await here.put(tenant, "shared")
    own = await here.schema_of(tenant)
    await query(here.dsn.superuser, f"CREATE SCHEMA {own}")
    await query(here.dsn.superuser, f"CREATE TABLE {own}.storage_management ()")
    with pytest.raises(asyncpg.InvalidSchemaNameError):
        await query(here.dsn.worker, "SELECT calculate_client_storage_usage($1)", own)
