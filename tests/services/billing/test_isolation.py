"""Row security by raw SQL, with the role the HTTP process has."""

from uuid import uuid4

import asyncpg
import pytest

from shared.db import Database, verify
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.world import Team, World, told

TABLES = [
    "subscription",
    "subscription_history",
    "period_payment",
    "payment",
    "payment_transition",
    "outbox_head",
    "outbox_event",
]


async def test_a_tenant_sees_and_changes_its_own_rows_only(world: World) -> None:
    teams = Team(), Team(slug="bob")
    for team in teams:
        payment = await world.started(team)
        await world.callback(told(payment))
        await world.until(team, payment, lambda p: p["status"] == "completed")
    mine, theirs = (team.tenant for team in teams)
    async with Database(world.dsn.app) as database:
        async with database.transaction(mine) as connection:
            for table in TABLES:
                seen = {row["tenant_id"] for row in await connection.fetch(f"SELECT tenant_id FROM {table}")}
                assert seen == {mine}, table
                assert not await connection.fetch(f"SELECT 1 FROM {table} WHERE tenant_id = $1", theirs), table
            changed = await connection.execute("UPDATE subscription SET plan = 'free' WHERE tenant_id = $1", theirs)
            assert changed == "UPDATE 0"
            assert await connection.execute("DELETE FROM payment WHERE tenant_id = $1", theirs) == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction(mine) as connection:
                await connection.execute("INSERT INTO outbox_head VALUES ('billing.v1', $1, 9)", uuid4())
    for table in TABLES:
        assert await query(world.dsn.app, f"SELECT 1 FROM {table}") == [], "nobody sees nothing"


async def test_how_a_payment_went_is_never_rewritten(world: World) -> None:
    payment = await world.started(Team())
    await world.call("POST", f"/api/payments/{payment['payment_id']}/cancel", who=Team().principal)
    await query(
        world.dsn.worker,
        "INSERT INTO payment_transition (tenant_id, payment_id, from_status, to_status, source, at)"
        " SELECT tenant_id, id, status, status, 'test', now() FROM payment",
    )
    for change in ("UPDATE payment_transition SET source = 'x'", "DELETE FROM payment_transition"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await query(world.dsn.worker, change)


async def test_the_schema_verifies(billing_db: ServiceDatabase) -> None:
    async with Database(billing_db.superuser) as database, database.acquire() as connection:
        assert await verify.verify(connection, "billing") == []
