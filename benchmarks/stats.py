"""A tenant's usage with its breakdown, as it is answered, beside the sum over its events."""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from benchmarks.report import Row, percentile
from services.usage.counters.reader import CounterReader
from services.usage.counters.service import CounterService
from services.usage.entitlements.provider import Billing
from services.usage.entitlements.service import EntitlementService
from services.usage.thresholds.service import ThresholdService
from shared.clock import SystemClock
from shared.db import Database
from shared.http import ServiceClient
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query

FEW, MANY = 1_000_000, 10_000_000
READS = 2_000
ROUNDS = 5  # the one in the middle counts
KINDS = 20

_EVENTS = """
    CREATE TABLE event AS SELECT $1::uuid AS tenant_id, n AS seq, n % 20 AS kind, 1000::bigint AS bytes
    FROM generate_series(1, $2::int) AS n
"""
_SUM = "SELECT kind, sum(bytes), count(*) FROM event WHERE tenant_id = $1 GROUP BY kind"
_COUNTED = """
    INSERT INTO tenant_usage (tenant_id, position, bytes, files, limit_bytes, plan, entitlements_version, limits,
        updated_at, last_reset)
    VALUES ($1, $2::bigint, $2::bigint * 1000, $2::bigint, 1000000000000, 'pro', 1, '{}', $3, $3)
"""
_KINDS = """
    INSERT INTO usage_breakdown SELECT $1, 'image', 'k' || n, $2::bigint / 20, $2::bigint * 50, now()
    FROM generate_series(1, 20) AS n
"""


async def run(pg: PostgresServer) -> list[Row]:
    usage, plain = pg.create("usage"), pg.empty()
    few, many = await _tenant(usage, FEW), await _tenant(usage, MANY)
    summed = await _sum(plain, many)
    async with Database(usage.app) as database:
        reader = _reader(database)
        rounds = [{FEW: await _reads(reader, few), MANY: await _reads(reader, many)} for _ in range(ROUNDS)]
    chosen = sorted(rounds, key=_grown)[ROUNDS // 2]
    ours, grown = percentile(chosen[MANY], 0.5), _grown(chosen)
    return [
        Row(
            "a tenant's usage after 10,000,000 events",
            "ms",
            ours * 1000,
            summed * 1000,
            None,
            f"{summed / ours:,.0f} × faster than SUM, p99 {grown:.2f} × that after 1,000,000",
            "≥ 100 × faster, p99 ≤ 1.2 ×",
            summed / ours >= 100 and grown <= 1.2,
            f"textbook: GROUP BY over the events, the best of 3. {READS} reads, {KINDS} kinds; p99 "
            f"{percentile(chosen[MANY], 0.99) * 1000:.2f} ms; the middle of {ROUNDS} rounds",
        )
    ]


def _grown(seconds: dict[int, list[float]]) -> float:
    return percentile(seconds[MANY], 0.99) / percentile(seconds[FEW], 0.99)


def _reader(database: Database) -> CounterReader:
    clock = SystemClock()
    billing = ServiceClient("http://127.0.0.1:1", "s" * 40, issuer="usage", audience="billing")
    counters = CounterService(ThresholdService(), clock)
    return CounterReader(database, EntitlementService(database, Billing(billing), counters, lambda: None))


async def _tenant(usage: ServiceDatabase, events: int) -> UUID:
    tenant = uuid4()
    await query(usage.superuser, _COUNTED, tenant, events, datetime.now(UTC))
    await query(usage.superuser, _KINDS, tenant, events)
    return tenant


async def _reads(reader: CounterReader, tenant: UUID) -> list[float]:
    seconds = []
    for _ in range(READS):
        begun = time.perf_counter()
        usage = await reader.read(tenant)
        seconds.append(time.perf_counter() - begun)
    assert sum(part.total_size for part in usage.breakdown) == usage.bytes
    return seconds


async def _sum(dsn: str, tenant: UUID) -> float:
    connection: Any = await asyncpg.connect(dsn)
    await connection.execute(_EVENTS, tenant, MANY, timeout=600)
    await connection.execute("VACUUM ANALYZE event", timeout=600)
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        rows = await connection.fetch(_SUM, tenant, timeout=600)
        taken.append(time.perf_counter() - begun)
        assert len(rows) == KINDS
    await connection.close()
    return min(taken)
