"""`POST /api/usage/check` of every metric, inside the service, beside a route of the same process that does nothing."""

import asyncio
import random
import time
from typing import get_args
from uuid import UUID

from benchmarks.load import Line
from benchmarks.report import Row, percentile
from benchmarks.usage import inside, line_of, usage
from shared.events import Metric
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query

CLIENTS = 4
RATE = 200  # checks a second, by all clients together: how long one takes is asked, not how many there can be
TIMES = 150  # each client asks for each metric, a round
ROUNDS = 5  # the one in the middle counts
TENANTS = 10_000
EVENTS = 10_000_000  # counted for the one who asks
METRICS: tuple[Metric, ...] = get_args(Metric)
TENANT = UUID(int=0x0195_0000_0000_7000_8000_0000_0000_0000)

# All tenants have counters and months; the one who asks has figures, thresholds of its own, and disks of 50 projects.
_COUNTED = """
    INSERT INTO tenant_usage (tenant_id, position, bytes, files, limit_bytes, plan, entitlements_version, limits,
        updated_at, last_reset)
    SELECT ('01950000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $2::bigint, $2::bigint * 1000, $2::bigint,
        1000000000000, 'pro', 1, '{"images_month": 100000000, "members": 1000, "projects": 1000}', now(), now()
    FROM generate_series(0, $1 - 1) AS n
"""
_MONTHS = """
    INSERT INTO tenant_month (tenant_id, year, month, traffic_in, traffic_out, requests, images, updated_at)
    SELECT tenant_id, extract(year FROM m)::int, extract(month FROM m)::int, 1000000, 2000000, 3000, 400, now()
    FROM tenant_usage, generate_series(now() - interval '11 months', now(), '1 month') AS m
"""
_FIGURES = """
    INSERT INTO tenant_figure (tenant_id, metric, used, remaining, month, seq, updated_at)
    SELECT $1, metric, 5, CASE metric WHEN 'credits' THEN 50 END,
        CASE metric WHEN 'credits' THEN date_trunc('month', now())::date END, 1, now()
    FROM unnest(ARRAY['members', 'projects', 'credits']) AS metric
"""
_CHOICES = """
    INSERT INTO threshold_choice (tenant_id, metric, items, updated_at)
    SELECT $1, metric, jsonb_agg(jsonb_build_object('unit', 'amount', 'value', 1000000000 * n::bigint, 'hard', n = 9,
        'channels', jsonb_build_array('note'))), now()
    FROM unnest($2::text[]) AS metric, generate_series(1, 9) AS n GROUP BY metric
"""
_RUNS = """
    INSERT INTO disk_run (id, status, requested_at, day, started_at)
    SELECT gen_random_uuid(), 'done', now() - n * interval '1 day', current_date - n, now() - n * interval '1 day'
    FROM generate_series(0, 364) AS n
"""
_DISKS = """
    INSERT INTO disk_usage (tenant_id, project_id, day, volumes_bytes, images_bytes, volumes, images, unknown,
        taken_at)
    SELECT $1, ('01950000-0000-7000-9000-' || lpad(to_hex(p), 12, '0'))::uuid, current_date - n,
        1000, 1000, 1, 1, 0, now()
    FROM generate_series(1, 50) AS p, generate_series(0, 364) AS n
"""


async def run(pg: PostgresServer) -> list[Row]:
    database = pg.create("usage")
    await _fill(database)
    async with usage(database) as url:
        rounds = [await _round(url) for _ in range(1 + ROUNDS)][1:]  # the first one opens connections
    middle = sorted(rounds, key=lambda took: percentile(took["inside"], 0.99))[ROUNDS // 2]
    p50, p99, nothing = (
        percentile(middle[name], part) for name, part in (("inside", 0.5), ("inside", 0.99), ("nothing", 0.99))
    )
    return [
        Row(
            "whether an amount still fits, every metric",
            "ms (p99)",
            p99,
            None,
            nothing,
            f"p50 {p50:.2f}, p99 {p99:.2f} inside the service",
            "p99 ≤ 5 ms inside the service",
            p99 <= 5,
            f"POST /api/usage/check, {RATE} times a second by {CLIENTS} clients, {len(middle['inside']):,} answers; "
            f"measured in the process, around the application; the middle of {ROUNDS} rounds; raw: its /healthz, the "
            f"same way. The clients waited {percentile(middle['client'], 0.99):.2f} ms (p99)",
        )
    ]


async def _fill(database: ServiceDatabase) -> None:
    await query(database.superuser, _COUNTED, TENANTS, EVENTS)
    await query(database.superuser, _MONTHS)
    for statement in (_FIGURES, _DISKS):
        await query(database.superuser, statement, TENANT)
    await query(database.superuser, _CHOICES, TENANT, METRICS)
    await query(database.superuser, _RUNS)
    await query(database.superuser, "ANALYZE")


async def _round(url: str) -> dict[str, list[float]]:
    """Milliseconds: of checks inside the service and for the client, and of nothing."""
    took: dict[str, list[float]] = {"inside": [], "client": [], "nothing": []}
    lines = [line_of(url, TENANT) for _ in range(CLIENTS)]
    await asyncio.gather(*(asyncio.to_thread(_check, line, took) for line in lines))
    await asyncio.gather(*(asyncio.to_thread(_nothing, line, took) for line in lines))
    for line in lines:
        line.close()
    return took


def _check(line: Line, took: dict[str, list[float]]) -> None:
    due = time.perf_counter()
    for _ in range(TIMES):
        for metric in METRICS:
            due += CLIENTS / RATE * random.uniform(0.5, 1.5)
            time.sleep(max(0, due - time.perf_counter()))
            begun = time.perf_counter()
            answer = line.say("POST", "/api/usage/check", {"metric": metric, "amount": 1})
            took["client"].append((time.perf_counter() - begun) * 1000)
            assert answer.status == 200, answer.body
            assert answer.json()["position"] == EVENTS
            took["inside"].append(inside(answer))


def _nothing(line: Line, took: dict[str, list[float]]) -> None:
    for _ in range(TIMES):
        took["nothing"].append(inside(line.ask("GET", "/healthz")))
