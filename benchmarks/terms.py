"""The terms of a plan, as every upload looks them up: heard of, and asked for."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg

from benchmarks.report import Row
from services.upload.entitlements.service import EntitlementService
from shared.db import Database
from shared.http import ServiceClient
from tests.fixtures.postgres import PostgresServer

SECONDS = 2.0
_ACCOUNT = "INSERT INTO tenant_storage (tenant_id, plan, limit_bytes, entitlements_version) VALUES ($1, 'pro', $2, 1)"


async def run(pg: PostgresServer) -> list[Row]:
    created, tenant = pg.create("upload"), uuid4()
    admin: Any = await asyncpg.connect(created.superuser)
    await admin.execute(_ACCOUNT, tenant, 10**12)
    await admin.close()
    billing = ServiceClient("http://127.0.0.1:1", "s" * 40, issuer="upload", audience="billing")
    async with Database(created.app, pool_size=1) as database:
        service = EntitlementService(database, billing)
        asked = await _rate(lambda: service.terms(tenant, fresh=True))
        hearing = asyncio.create_task(service.news.run())
        while not service.news.listening:
            await asyncio.sleep(0.01)
        await service.terms(tenant)
        statements = await _watch(database)
        heard = await _rate(lambda: service.terms(tenant))
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
    return [
        Row(
            "terms of a plan, known",
            "lookups/s",
            heard,
            asked,
            None,
            f"{len(statements)} statements; {1e6 / heard:.1f} µs, asked {1e6 / asked:.0f} µs",
            "0 statements",
            not statements,
            "the textbook asks the database each time, on one connection",
        )
    ]


async def _watch(database: Database) -> list[str]:
    """What is said on its one connection from now on."""
    statements: list[str] = []
    async with database.acquire() as connection:
        connection.add_query_logger(lambda record: statements.append(record.query))
    return statements


async def _rate(one: Callable[[], Awaitable[object]]) -> float:
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        await one()
        done += 1
    return done / (time.perf_counter() - begun)
