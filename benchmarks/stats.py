"""A tenant's usage with its breakdown, as it is answered, beside the sum over its events."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from benchmarks.report import Row, percentile
from benchmarks.usage import line_of, usage
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query

FEW, MANY = 1_000_000, 10_000_000
READS = 1_000  # of each tenant, a round
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
    counted, plain = pg.create("usage"), pg.empty()
    tenants = {events: await _tenant(counted, events) for events in (FEW, MANY)}
    summed = await _sum(plain, tenants[MANY])
    async with usage(counted) as url:
        rounds = [_round(url, tenants) for _ in range(1 + ROUNDS)][1:]  # the first one opens connections
    chosen = sorted(rounds, key=_grown)[ROUNDS // 2]
    ours, grown = percentile(chosen[MANY], 0.5), _grown(chosen)
    p99 = {events: percentile(seconds, 0.99) * 1000 for events, seconds in chosen.items()}
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
            f"GET /api/usage/summary, the whole answer over HTTP; textbook: GROUP BY over the events, the best of 3. "
            f"{READS:,} answers of {KINDS} kinds each, in turns; p99 {p99[MANY]:.2f} ms, after 1,000,000 "
            f"{p99[FEW]:.2f} ms; the middle of {ROUNDS} rounds",
        )
    ]


def _grown(seconds: dict[int, list[float]]) -> float:
    return percentile(seconds[MANY], 0.99) / percentile(seconds[FEW], 0.99)


async def _tenant(counted: ServiceDatabase, events: int) -> UUID:
    tenant = uuid4()
    await query(counted.superuser, _COUNTED, tenant, events, datetime.now(UTC))
    await query(counted.superuser, _KINDS, tenant, events)
    return tenant


def _round(url: str, tenants: Mapping[int, UUID]) -> dict[int, list[float]]:
    """Seconds an answer took, by how many events were counted; in turns, so that both meet the same machine."""
    lines = {events: line_of(url, tenant) for events, tenant in tenants.items()}
    seconds: dict[int, list[float]] = {events: [] for events in tenants}
    for _ in range(READS):
        for events, line in lines.items():
            begun = time.perf_counter()
            answer = line.ask("GET", "/api/usage/summary")
            seconds[events].append(time.perf_counter() - begun)
            assert answer.status == 200, answer.body
            told = answer.json()
            assert sum(part["total_size"] for part in told["breakdown"]) == told["storage"]["used"] == events * 1000
    for line in lines.values():
        line.close()
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
