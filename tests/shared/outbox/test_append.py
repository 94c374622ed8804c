"""Seq without a hole, whoever writes and however many fail."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from shared import outbox
from shared.db import Database
from tests.fixtures.postgres import PostgresServer, query
from tests.shared.kafka.samples import AT, event, stored


@pytest.fixture
async def database(pg: PostgresServer) -> Database:
    return Database(pg.create("usage").app, pool_size=8)


async def test_concurrent_writers_leave_no_hole_and_failures_take_no_number(database: Database) -> None:
    tenant = uuid4()

    async def write(number: int) -> None:
        async with database.transaction(tenant) as connection:
            await outbox.append(connection, [stored(tenant), stored(tenant)], at=AT)
            if number % 3 == 0:
                raise ZeroDivisionError

    async with database:
        await asyncio.gather(*(write(n) for n in range(60)), return_exceptions=True)
        async with database.transaction(tenant) as connection:
            seqs = [r["seq"] for r in await connection.fetch("SELECT seq FROM outbox_event ORDER BY seq")]
    assert seqs == list(range(1, 81))


async def test_each_topic_counts_for_itself(database: Database) -> None:
    tenant = uuid4()
    async with database, database.transaction(tenant) as connection:
        assert await outbox.append(connection, [stored(tenant)] * 3, at=AT) == [1, 2, 3]
        assert await outbox.append(connection, [event("entitlements.changed", tenant, 1)], at=AT) == [1]


async def test_the_app_role_cannot_write_or_read_another_tenant(pg: PostgresServer) -> None:
    created = pg.create("usage")
    mine, other = uuid4(), uuid4()
    async with Database(created.app) as database:
        async with database.transaction(other) as connection:
            await outbox.append(connection, [stored(other)], at=AT)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction(mine) as connection:
                await outbox.append(connection, [stored(other)], at=AT)
        for scope in (mine, None):
            async with database.transaction(scope) as connection:
                assert await connection.fetchval("SELECT count(*) FROM outbox_event") == 0


async def test_what_is_written_stays(pg: PostgresServer) -> None:
    created = pg.create("usage")
    tenant = uuid4()
    async with Database(created.app) as database, database.transaction(tenant) as connection:
        await outbox.append(connection, [stored(tenant)], at=AT)
    for statement in ("UPDATE outbox_event SET body = ''", "DELETE FROM outbox_event"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append only"):
            await query(created.worker, statement)
