"""Row security by raw SQL, with the role the HTTP process has."""

from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.db import Database, verify
from tests.fixtures.postgres import ServiceDatabase, query

TABLES = [
    "tenant_usage",
    "usage_breakdown",
    "threshold_choice",
    "threshold_state",
    "alert",
    "project_storage",
    "project_usage",
    "outbox_event",
    "outbox_head",
    "consumer_position",
    "disk_usage",
    "tenant",
    "storage_management",
    "cleanup_day",
    "storage_minute",
    "storage_hour",
    "storage_day",
    "traffic_minute",
    "traffic_hour",
    "traffic_day",
    "tenant_month",
    "tenant_figure",
    "user_usage",
    "fold_checkpoint",
    "counter_adjustment",
]

_FILL = """
    INSERT INTO tenant_usage VALUES ($1, 90, 1, 100, 'free', 1, 1, now(), now());
    INSERT INTO usage_breakdown VALUES ($1, 'image', 'avatars', 1, 90, now());
    INSERT INTO threshold_choice VALUES ($1, 'storage', '[]', now());
    INSERT INTO threshold_state VALUES ($1, 'storage', 80, 1, true, 'percent');
    INSERT INTO alert (id, tenant_id, metric, unit, value, period, armed, used, speaks, at)
        VALUES (gen_random_uuid(), $1, 'storage', 'percent', 80, '2026-03-01', 1, 90, true, now());
    INSERT INTO project_storage VALUES ($1, gen_random_uuid(), 90, 1);
    INSERT INTO project_usage VALUES ($1, gen_random_uuid(), 2026, 3, 1, 2, 1, 90, now(), now());
    INSERT INTO outbox_head VALUES ('alerts.v1', $1, 1);
    INSERT INTO outbox_event VALUES ('alerts.v1', $1, 1, gen_random_uuid(), 'threshold.crossed', now(), '{}');
    INSERT INTO consumer_position VALUES ('files.v1', $1, 1);
    INSERT INTO disk_usage VALUES ($1, gen_random_uuid(), '2026-03-01', 1, 1, 1, 1, 0, now());
    INSERT INTO tenant (tenant_id, slug, name, owner_id, timezone, isolation, seq)
        VALUES ($1, 't', 'T', $1, 'UTC', 'shared', 1);
    INSERT INTO storage_management (tenant_id) VALUES ($1);
    INSERT INTO cleanup_day VALUES ($1, '2026-03-01', 'files', 1, 10);
    INSERT INTO storage_minute VALUES ($1, '2026-03-01', 1, 1, 1, 0, now());
    INSERT INTO storage_hour VALUES ($1, '2026-03-01', 1, 1, 1, 0, now());
    INSERT INTO storage_day VALUES ($1, '2026-03-01', 1, 1, 1, 0, now());
    INSERT INTO traffic_minute VALUES ($1, '2026-03-01', 1, 1, 1);
    INSERT INTO traffic_hour VALUES ($1, '2026-03-01', 1, 1, 1);
    INSERT INTO traffic_day VALUES ($1, '2026-03-01', 1, 1, 1);
    INSERT INTO tenant_month VALUES ($1, 2026, 3, 1, 2, 3, 4, true, now());
    INSERT INTO tenant_figure VALUES ($1, 'members', 1, NULL, NULL, 1, now());
    INSERT INTO user_usage VALUES ($1, gen_random_uuid(), 90, 1, now());
    INSERT INTO fold_checkpoint VALUES ($1, 1, '[]');
    INSERT INTO counter_adjustment VALUES ($1, gen_random_uuid(), 1, 'test', '[]', now())
"""


async def fill(dsn: str) -> UUID:
    tenant = uuid4()
    for statement in _FILL.split(";"):
        await query(dsn, statement, tenant)
    return tenant


async def test_a_tenant_sees_its_own_rows_only(usage_db: ServiceDatabase) -> None:
    mine, theirs = await fill(usage_db.worker), await fill(usage_db.worker)
    async with Database(usage_db.app) as database, database.transaction(mine) as connection:
        for table in TABLES:
            seen = {row["tenant_id"] for row in await connection.fetch(f"SELECT tenant_id FROM {table}")}
            assert seen == {mine}, table
            assert not await connection.fetch(f"SELECT 1 FROM {table} WHERE tenant_id = $1", theirs), table


async def test_nobody_sees_nothing(usage_db: ServiceDatabase) -> None:
    await fill(usage_db.worker)
    for table in TABLES:
        assert await query(usage_db.app, f"SELECT 1 FROM {table}") == [], table


async def test_a_tenant_changes_no_other(usage_db: ServiceDatabase) -> None:
    mine, theirs = await fill(usage_db.worker), await fill(usage_db.worker)
    async with Database(usage_db.app) as database:
        async with database.transaction(mine) as connection:
            assert (
                await connection.execute("UPDATE tenant_usage SET bytes = 0 WHERE tenant_id = $1", theirs) == "UPDATE 0"
            )
            assert await connection.execute("DELETE FROM usage_breakdown WHERE tenant_id = $1", theirs) == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction(mine) as connection:
                await connection.execute("INSERT INTO usage_breakdown VALUES ($1, 'image', 'x', 1, 1, now())", theirs)


async def test_the_schema_verifies(usage_db: ServiceDatabase) -> None:
    async with Database(usage_db.superuser) as database, database.acquire() as connection:
        assert await verify.verify(connection, "usage") == []
