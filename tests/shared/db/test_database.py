import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import text

from shared.db import Database, turn
from tests.fixtures.postgres import PostgresServer, query

TENANT = "SELECT nullif(current_setting('app.tenant_id', true), '')::uuid"


@pytest.fixture
async def database(pg: PostgresServer) -> Database:
    dsn = pg.empty()
    await query(dsn, "CREATE TABLE note (tenant_id uuid, word text)")
    return Database(dsn, pool_size=2)


async def test_a_transaction_sees_its_tenant_and_the_next_one_sees_nobody(database: Database) -> None:
    tenant = uuid4()
    async with database:
        async with database.transaction(tenant) as connection:
            assert await connection.fetchval(TENANT) == tenant
        for _ in range(4):
            async with database.transaction() as connection:
                assert await connection.fetchval(TENANT) is None


async def test_a_snapshot_is_one_moment_of_one_tenant_and_writes_nothing(database: Database) -> None:
    tenant, count = uuid4(), "SELECT count(*) FROM note"
    async with database:
        async with database.snapshot(tenant) as connection:
            assert await connection.fetchval(TENANT) == tenant
            await query(database.dsn, "INSERT INTO note VALUES ($1, 'since')", tenant)
            assert await connection.fetchval(count) == 0
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with database.snapshot() as connection:
                await connection.execute("INSERT INTO note VALUES ($1, 'here')", tenant)
        async with database.transaction() as connection:
            assert await connection.fetchval(count) == 1
            assert await connection.fetchval(TENANT) is None
            await connection.execute("INSERT INTO note VALUES ($1, 'again')", tenant)


async def test_a_unit_is_one_transaction_for_session_and_connection(database: Database) -> None:
    tenant, said = uuid4(), []
    async with database:
        async with database.unit(tenant) as unit:
            unit.after_commit(lambda: said.append("committed"))
            await unit.connection.execute("INSERT INTO note VALUES ($1, 'native')", tenant)
            orm = await unit.session.connection()
            found = await orm.execute(text("SELECT tenant_id, current_setting('app.tenant_id') FROM note"))
            assert found.one() == (tenant, str(tenant))
            assert said == []
        assert said == ["committed"]


async def test_an_error_undoes_everything_and_the_connection_lives_on(database: Database) -> None:
    async with database:
        for open_one in (database.transaction, database.unit):
            with pytest.raises(ZeroDivisionError):
                async with open_one(uuid4()) as scope:
                    connection: Any = getattr(scope, "connection", scope)
                    await connection.execute("INSERT INTO note VALUES ($1, 'lost')", uuid4())
                    raise ZeroDivisionError
        async with database.transaction() as connection:
            assert await connection.fetchval("SELECT count(*) FROM note") == 0
            assert await connection.fetchval("SELECT pg_current_xact_id_if_assigned() IS NULL")


async def test_a_failed_statement_fails_the_commit(database: Database) -> None:
    async with database:
        with pytest.raises(asyncpg.PostgresError):
            async with database.transaction() as connection:
                await connection.execute("INSERT INTO note VALUES ('no uuid', 'x')")
        async with database.transaction() as connection:
            assert await connection.fetchval("SELECT count(*) FROM note") == 0


async def test_only_a_uuid_reaches_the_scope(database: Database) -> None:
    async with database:
        with pytest.raises(ValueError, match="badly formed"):
            async with database.transaction("x'; DROP TABLE note; --"):  # type: ignore[arg-type]
                pass
        async with database.transaction(UUID(int=1)) as connection:
            assert await connection.fetchval("SELECT count(*) FROM note") == 0


async def test_who_has_a_turn_takes_nobody_the_connection_to_work_with(database: Database) -> None:
    """As many as there are connections, and each needs another one for its work."""

    async def work(name: str) -> object:
        async with turn(database, name) as mine:
            await asyncio.wait_for(all_there.wait(), 10)
            async with database.transaction() as connection:
                return mine is not None and await connection.fetchval("SELECT count(*) FROM note")

    all_there = asyncio.Barrier(2)
    async with database, asyncio.timeout(10):
        assert list(await asyncio.gather(work("one"), work("other"))) == [0, 0]
