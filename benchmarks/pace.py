"""From an entry's moment to the counter that shows it, while records come half as fast as a worker can count them."""

import asyncio
import time
from bisect import bisect_left
from uuid import UUID

import asyncpg

from benchmarks.counting import Counting, counting
from benchmarks.report import Row, percentile
from tests.fixtures.postgres import PostgresServer

TENANTS = 100
BACKLOG = 100_000  # records by which the most is found
ROUNDS = 3  # of that; the best
SECONDS = 10.0  # of records at half of it
TICK = 0.02  # seconds from one page of records to the next

Shown = dict[UUID, list[tuple[int, float]]]  # of each tenant every position that was seen, and when


async def half(pg: PostgresServer) -> Row:
    async with counting(pg, tenants=TENANTS) as found:
        most = max([await found.rate(BACKLOG) for _ in range(ROUNDS)])
        waits = await _waits(found, most / 2)
    p99 = percentile(waits, 0.99)
    return Row(
        "entry → counter visible, at half of the most a worker can count",
        "ms (p99)",
        p99,
        None,
        None,
        f"p50 {percentile(waits, 0.5):.0f}, p99 {p99:.0f}, at {most / 2:,.0f} records/s",
        "p99 ≤ 1,000 ms",
        p99 <= 1_000,
        f"{len(waits):,} records of {TENANTS} tenants, sent straight to Kafka every {TICK * 1000:.0f} ms; since each "
        f"was due. The most: {most:,.0f} records/s, the best of {ROUNDS} backlogs of {BACKLOG:,} in the same run",
    )


async def _waits(found: Counting, rate: float) -> list[float]:
    """Milliseconds."""
    pages = [found.page(round(rate * TICK)) for _ in range(round(SECONDS / TICK))]
    shown: Shown = {tenant: [] for tenant in found.tenants}
    last = await found.position() + sum(map(len, pages))
    watching = asyncio.create_task(_watch(found, shown))
    begun = time.perf_counter()
    for number, page in enumerate(pages):
        await asyncio.sleep(max(0, begun + number * TICK - time.perf_counter()))
        await found.publisher.publish("files.v1", page)
    async with asyncio.timeout(60):
        while await found.position() < last:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return [
        (_moment(shown[row["tenant_id"]], row["seq"]) - begun - number * TICK) * 1000
        for number, page in enumerate(pages)
        for row in page
    ]


def _moment(shown: list[tuple[int, float]], seq: int) -> float:
    return shown[bisect_left(shown, (seq, 0.0))][1]


async def _watch(found: Counting, shown: Shown) -> None:
    """Looks at the counters as often as it can, from outside."""
    connection = await asyncpg.connect(found.usage.superuser)
    try:
        while True:
            rows = await connection.fetch(
                "SELECT tenant_id, position FROM tenant_usage WHERE tenant_id = ANY($1)", found.tenants
            )
            now = time.perf_counter()
            for tenant, position in rows:
                shown[tenant].append((position, now))
            await asyncio.sleep(0.004)
    finally:
        await connection.close()
