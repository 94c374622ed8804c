"""Spending on one hot tenant: 64 clients who all want the same balance."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg

from benchmarks.report import Row
from deploy.local.postgres import SETTINGS
from services.billing.credits.catalogue import load_credits
from services.billing.credits.errors import CreditsInsufficient
from services.billing.credits.repository import set_timezone
from services.billing.credits.service import CreditService
from shared.clock import SystemClock
from shared.db import Database
from tests.fixtures.postgres import PostgresServer, ServiceDatabase

CLIENTS = 64
SECONDS = 4.0
POOL = 20  # connections, for both
PLENTY = 10**9
_ANALYZED = """
    SELECT bool_and(last_autoanalyze IS NOT NULL) FROM pg_stat_user_tables
    WHERE relname IN ('credit_transaction', 'credit_posting', 'outbox_event')
"""


async def run(pg: PostgresServer) -> list[Row]:
    textbook = await _textbook(pg.empty())
    ours, exact, waited = await _ours(pg.create("billing"))
    raw = await _raw(pg.empty())
    ratio = ours / textbook
    return [
        Row(
            "spend credits, one hot tenant",
            "spends/s",
            ours,
            textbook,
            raw,
            f"{ratio:.1f} × textbook, {'exact' if exact else 'NOT exact'} when it runs out",
            "≥ 5 × textbook, exact",
            ratio >= 5 and exact,
            "the textbook is SELECT … FOR UPDATE, a look, UPDATE and one row of history; it writes no double entry, no "
            f"grant that paid and no event, ours does; measured once new tables have statistics, {waited:.0f} s on; "
            "the raw limit is commits of one connection on one row",
        )
    ]


async def _clients(one: Callable[[], Awaitable[bool]]) -> float:
    """Spends a second."""
    done, end = 0, time.perf_counter() + SECONDS

    async def client() -> None:
        nonlocal done
        while time.perf_counter() < end:
            ok = await one()
            done += ok

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / (time.perf_counter() - begun)


async def _ours(created: ServiceDatabase) -> tuple[float, bool, float]:
    tenant = uuid4()
    async with Database(created.app, pool_size=POOL) as database:
        service = CreditService(database, load_credits(), SystemClock(), lambda: None)
        async with database.transaction(tenant) as connection:
            await set_timezone(connection, tenant, "UTC")

        async def grant(amount: int) -> None:
            await service.add(tenant, amount, "system_bonus", "To spend", client_id=uuid4().hex, by="benchmark")

        async def one() -> bool:
            try:
                await service.spend(tenant, "image", 1, client_id=uuid4().hex, by="benchmark")
            except CreditsInsufficient:
                return False
            return True

        await grant(PLENTY)
        watcher: Any = await asyncpg.connect(created.superuser)
        waited = await _warm_up(watcher, one)
        rate = await _clients(one)
        # And then nearly nothing: nine credits, a hundred who ask at once.
        left = await watcher.fetchval("SELECT available FROM credit_account WHERE tenant_id = $1", tenant) - 9
        await service.spend(tenant, "image", left, client_id="the rest", by="benchmark")
        paid = sum(await asyncio.gather(*(one() for _ in range(100))))
        row = await watcher.fetchrow("SELECT available, spent FROM credit_account WHERE tenant_id = $1", tenant)
        await watcher.close()
    return rate, paid == 9 and tuple(row) == (0, PLENTY), waited


async def _warm_up(watcher: Any, one: Callable[[], Awaitable[bool]]) -> float:
    """Plans made for empty tables are kept until autovacuum has come by: spends go on until then. Seconds it took."""
    await watcher.execute(f"ALTER SYSTEM SET autovacuum_naptime = '{SETTINGS['autovacuum_naptime']}'")
    await watcher.execute("SELECT pg_reload_conf()")
    begun = time.perf_counter()
    while not await watcher.fetchval(_ANALYZED):
        await asyncio.gather(*(one() for _ in range(CLIENTS)))
    return time.perf_counter() - begun


async def _textbook(dsn: str) -> float:
    """SELECT … FOR UPDATE, look, UPDATE, INSERT: right, and one commit each."""
    async with asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL) as pool:
        await pool.execute("CREATE TABLE wallet (id int PRIMARY KEY, balance bigint)")
        await pool.execute("CREATE TABLE spend (id uuid PRIMARY KEY, amount bigint, at timestamptz)")
        await pool.execute("INSERT INTO wallet VALUES (1, $1)", PLENTY)

        async def one() -> bool:
            async with pool.acquire() as connection, connection.transaction():
                balance: Any = await connection.fetchval("SELECT balance FROM wallet WHERE id = 1 FOR UPDATE")
                if balance < 1:
                    return False
                await connection.execute("UPDATE wallet SET balance = balance - 1 WHERE id = 1")
                await connection.execute("INSERT INTO spend VALUES ($1, 1, now())", uuid4())
            return True

        return await _clients(one)


async def _raw(dsn: str) -> float:
    connection: Any = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE one (n bigint)")
    await connection.execute(f"INSERT INTO one VALUES ({PLENTY})")
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS / 2:
        await connection.execute("UPDATE one SET n = n - 1 WHERE n > 0")
        done += 1
    await connection.close()
    return done / (time.perf_counter() - begun)
