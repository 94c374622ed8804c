"""The month an image was taken of is a column of the ledger, also of entries that were written without it."""

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from alembic import command

from shared.db.migrate import configuration
from tests.fixtures.postgres import PostgresServer, query

NOVEMBER = date(2026, 11, 1)
BODIES = (
    ("file.stored", '{"name":"a","image_month":"2026-11-01"}', NOVEMBER),
    ("file.replaced", '{"name":"a","image_month":"2026-11-01"}', NOVEMBER),
    ("file.stored", '{"name":"a","image_month":null}', None),
    ("file.stored", '{"name":"from before there were images"}', None),
    ("file.stored", '{"name":"\\"image_month\\":\\"2026-11-01\\""}', None),
    ("file.moved", '{"name":"a"}', None),
)
_TENANT = "INSERT INTO tenant_storage (tenant_id, plan, entitlements_version) VALUES ($1, 'p', 1)"
_ENTRY = """
    INSERT INTO storage_transaction (tenant_id, seq, id, action, type, file_id, file_path, file_name, file_size, delta,
        content_type, file_type, category, metadata, occurred_at, body, prev_hash, hash)
    VALUES ($1, $2, gen_random_uuid(), 'upload', $3, gen_random_uuid(), '', '', 1, 1, '', 'image', 'documents', '{}',
        now(), $4, 'before', 'after')
"""
_FOUND = "SELECT image_month, body, prev_hash, hash FROM storage_transaction ORDER BY seq"


async def write(dsn: str) -> None:
    """As the version before knows the table."""
    connection, tenant = await asyncpg.connect(dsn), uuid4()
    try:
        await connection.execute(_TENANT, tenant)
        for seq, (kind, body, _) in enumerate(BODIES, 1):
            await connection.execute(_ENTRY, tenant, seq, kind, body)
    finally:
        await connection.close()


def assert_filled(rows: Sequence[Any]) -> None:
    assert [tuple(row) for row in rows] == [(month, body, b"before", b"after") for _, body, month in BODIES]


def test_old_entries_have_it_from_their_bodies(pg: PostgresServer) -> None:
    pg.create("upload")  # and with it the roles
    old = pg.empty()
    name = old.rsplit("/", 1)[1]
    pg._execute(f'ALTER DATABASE "{name}" OWNER TO upload_owner')
    pg._execute("CREATE EXTENSION vector", "GRANT ALL ON SCHEMA public TO upload_owner", database=name)
    settings = configuration("upload", pg.dsn(name, "upload_owner"), "upload_app", "upload_worker")
    command.upgrade(settings, "0018")
    asyncio.run(write(old))
    command.upgrade(settings, "0020")
    assert_filled(asyncio.run(query(old, _FOUND)))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append only"):
        asyncio.run(query(old, "UPDATE storage_transaction SET image_month = NULL"))


async def test_a_process_from_before_it_may_go_on_for_a_while(pg: PostgresServer) -> None:
    dsn = pg.create("upload").superuser
    await write(dsn)
    assert_filled(await query(dsn, _FOUND))
