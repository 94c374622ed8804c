"""Reserve and settle on one hot tenant: 64 clients who all want the same row."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg

from benchmarks import samples
from benchmarks.report import Row
from services.upload.quota.changes import Change
from services.upload.quota.rules import Reserve, Settle
from services.upload.quota.writer import AccountWriter
from shared.db import Database
from tests.fixtures.postgres import PostgresServer, ServiceDatabase

CLIENTS = 64
SECONDS = 4.0
POOL = 20  # connections, for both
_HOUR = timedelta(hours=1)
# Hot means that it runs full: a third of what is asked for does not fit.
_ACCOUNT = "INSERT INTO tenant_storage (tenant_id, plan, limit_bytes, entitlements_version) VALUES ($1, 'pro', $2, 1)"


async def run(pg: PostgresServer) -> list[Row]:
    textbook, over_textbook = await _textbook(pg.empty())
    ours, over = await _ours(pg.create("upload"))
    raw = await _raw(pg.empty())
    ratio = ours / textbook
    return [
        Row(
            "reserve + settle, one hot tenant",
            "uploads/s",
            ours,
            textbook,
            raw,
            f"{ratio:.1f} × textbook, {over} over-admitted",
            "≥ 5 × textbook, 0 over-admitted",
            ratio >= 5 and over == 0,
            "the raw limit is commits of one connection on one row; the textbook over-admitted "
            f"{over_textbook} and writes neither ledger nor event, ours does",
        )
    ]


async def _clients(one: Callable[[], Awaitable[bool]]) -> float:
    """Admitted uploads a second."""
    admitted, end = 0, time.perf_counter() + SECONDS

    async def client() -> None:
        nonlocal admitted
        while time.perf_counter() < end:
            ok = await one()
            admitted += ok

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return admitted / (time.perf_counter() - begun)


async def _ours(created: ServiceDatabase) -> tuple[float, int]:
    tenant = uuid4()
    watcher: Any = await asyncpg.connect(created.superuser)
    await watcher.execute(_ACCOUNT, tenant, 10**12)
    async with Database(created.app, pool_size=POOL) as database:
        writer = AccountWriter(database, on_commit=lambda: None)

        async def one() -> bool:
            file = samples.file_stored(tenant)
            held = await writer.submit(tenant, Change(Reserve(file.file_id, file.size), lifetime=_HOUR))
            if not held.ok:
                return False
            settled = await writer.submit(tenant, Change(Settle(file.file_id, file.size), file=file))
            return bool(settled.ok)

        rate = await _clients(one)
        # And then full: one byte short of ten files, a hundred who ask at once.
        used = await watcher.fetchval("SELECT used FROM tenant_storage WHERE tenant_id = $1", tenant)
        limit = used + 10 * samples.SIZE - 1
        await watcher.execute("UPDATE tenant_storage SET limit_bytes = $2 WHERE tenant_id = $1", tenant, limit)
        admitted = sum(await asyncio.gather(*(one() for _ in range(100))))
    used = await watcher.fetchval("SELECT used + reserved FROM tenant_storage WHERE tenant_id = $1", tenant)
    await watcher.close()
    assert admitted == 9, admitted
    return rate, max(0, used - limit)


async def _textbook(dsn: str) -> tuple[float, int]:
    """SELECT … FOR UPDATE, look, UPDATE, twice an upload: right, and one commit each."""
    async with asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL) as pool:
        await pool.execute("CREATE TABLE quota (id int PRIMARY KEY, allowed bigint, used bigint, reserved bigint)")
        await pool.execute("CREATE TABLE file (id uuid PRIMARY KEY, path text, size bigint)")
        await pool.execute("INSERT INTO quota VALUES (1, $1, 0, 0)", 10**12)
        lock = "SELECT allowed, used, reserved FROM quota WHERE id = 1 FOR UPDATE"

        async def one() -> bool:
            file = samples.file_stored(uuid4())
            async with pool.acquire() as connection, connection.transaction():
                row: Any = await connection.fetchrow(lock)
                if row["used"] + row["reserved"] + file.size > row["allowed"]:
                    return False
                await connection.execute("UPDATE quota SET reserved = reserved + $1 WHERE id = 1", file.size)
            async with pool.acquire() as connection, connection.transaction():
                await connection.fetchrow(lock)
                await connection.execute("INSERT INTO file VALUES ($1, $2, $3)", file.file_id, file.path, file.size)
                await connection.execute(
                    "UPDATE quota SET used = used + $1, reserved = reserved - $1 WHERE id = 1", file.size
                )
            return True

        rate = await _clients(one)
        over = await pool.fetchval("SELECT greatest(0, used + reserved - allowed) FROM quota")
    return rate, int(over)


async def _raw(dsn: str) -> float:
    connection: Any = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE one (n bigint)")
    await connection.execute("INSERT INTO one VALUES (0)")
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < 2:
        await connection.execute("UPDATE one SET n = n + 1")
        done += 1
    await connection.close()
    return done / 2
