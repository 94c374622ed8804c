"""Millions of events of 5,000 tenants, a tenth of them twice, with consumers killed, their group rebalanced and the
broker killed: counters are what SQL makes of the same events, alerts exactly those that had to be, in the tables and on
the topic, and the consumer that lived through all of it has not grown.

`make test` sends 2 million; `make faults` 20 million, or EVENTS.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from deploy.local import kafka
from deploy.local.home import Home
from deploy.local.ports import free_port
from tests.faults.millions import Events, Notice, Tenant, amounts, fold, tenant_id
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query, server
from tests.fixtures.stack import CACHE, ROOT, require_kafka

EVENTS = int(os.environ.get("EVENTS", "2000000"))
KILLS = 10
CHAOS = 0.65  # of the way
WARM = 0.1  # of the way: what grows afterwards would grow for ever
# Bytes of resident memory by which the consumer that lives on may differ: on the way, where rebalances take some
# for good (some 100 MiB in all, over 200,000 events as over a million); and once nothing happens any more.
GROWTH, QUIET = 160 * 2**20, 64 * 2**20

_KNOWN = """
    INSERT INTO tenant_usage (tenant_id, limit_bytes, plan, entitlements_version, updated_at, last_reset)
    SELECT *, 'pro', 1, $3, $3 FROM unnest($1::uuid[], $2::bigint[])
"""
_PROGRESS = "SELECT coalesce(sum(position), 0)::bigint FROM tenant_usage"
_READ = "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_offset WHERE topic = 'files.v1'"


@dataclass
class Broker:
    """One Kafka node that can be stopped and started again with what it holds."""

    node: kafka.Kafka
    home: Home
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.home.log("broker").open("ab") as log:
            environment = {**os.environ, "LOG_DIR": str(self.home.folder("logs"))}
            self.process = subprocess.Popen(self.node.command, stdout=log, stderr=log, env=environment)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)

    async def fall(self) -> None:
        """As kill -9 does it, and it comes back with what is on its disk."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)
        self.start()
        await kafka.create_topics(self.node.address)

    def held(self) -> int:
        """Records on the topic, repeats among them."""
        reader = Consumer({"bootstrap.servers": self.node.address, "group.id": "held"})
        marks = [
            reader.get_watermark_offsets(TopicPartition("files.v1", n), timeout=30) for n in range(kafka.PARTITIONS)
        ]
        reader.close()
        return sum(high - low for low, high in marks)


@dataclass
class Workers:
    """Processes of usage that share the topic between them. The first one lives from beginning to end."""

    database: ServiceDatabase
    bootstrap: str
    log: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        environment = {
            **os.environ,
            "MODE": "local",
            "PORT": "0",
            "DATABASE_URL": self.database.worker,
            "KAFKA_BOOTSTRAP": self.bootstrap,
            "INTERNAL_SECRET": "s" * 40,
            # Nothing is missing in Kafka: whoever asks a neighbour has lost something.
            **dict.fromkeys(("UPLOAD_URL", "BILLING_URL", "GATEWAY_URL"), "http://127.0.0.1:1"),
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "services.usage.worker"]
            self.running.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))

    def end(self, number: int, how: signal.Signals) -> None:
        process = self.running.pop(number)
        process.send_signal(how)
        process.wait(30)

    @property
    def first(self) -> psutil.Process:
        return psutil.Process(self.running[0].pid)


@pytest.fixture
def pg() -> Iterator[PostgresServer]:
    """On the disk: 20 million events would fill the memory."""
    with server(memory=False) as running:
        yield running


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    require_kafka()
    os.environ.setdefault("STOWAGE_CACHE", str(CACHE))
    home = Home(tmp_path / "kafka")
    home.prepare()
    node = kafka.Kafka(home, free_port(), free_port())
    await node.prepare(print)
    running = Broker(node, home)
    running.start()
    try:
        await kafka.create_topics(node.address)
        yield running
    finally:
        running.stop()


@pytest.fixture
def workers(pg: PostgresServer, broker: Broker, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(pg.create("usage"), broker.node.address, tmp_path / "workers.log")
    yield made
    while made.running:
        made.end(0, signal.SIGKILL)


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.alone
@pytest.mark.timeout(300 + EVENTS // 1_000)
async def test_nothing_lost_nothing_doubled_every_alert_once(
    pg: PostgresServer, broker: Broker, workers: Workers, tmp_path: Path
) -> None:
    events = Events(EVENTS, tmp_path / "notes.tsv")
    await known(workers.database, events.tenants)
    sent = await asyncio.to_thread(events.send, broker.node.address)
    assert broker.held() == sent >= EVENTS * 1.1 - 1
    begun = time.monotonic()
    memory = await consume(broker, workers, EVENTS, sent)
    seconds = time.monotonic() - begun
    expected = await fold(pg.empty(), tmp_path / "notes.tsv", events.tenants)
    await check(workers.database, expected)
    assert await asyncio.to_thread(heard, broker.node.address, len(expected.notices)) == expected.notices
    grown, late = growth(memory, WARM), growth(memory, CHAOS + 0.05)
    told = f"{sent} records in {seconds:.0f} s, {len(expected.alerts)} alerts"
    sys.stdout.write(f"\n{told}, memory +{grown >> 20} MiB, in the end +{late >> 20} MiB\n")
    assert grown < GROWTH
    assert late < QUIET


async def known(database: ServiceDatabase, tenants: list[Tenant]) -> None:
    """With their limits before the first event."""
    ids, limits = [tenant_id(t.number) for t in tenants], [t.limit for t in tenants]
    await query(database.superuser, _KNOWN, ids, limits, datetime(2026, 3, 10, tzinfo=UTC))


async def consume(broker: Broker, workers: Workers, events: int, sent: int) -> list[tuple[float, int]]:
    """All of it, whatever happens on the way. Returns how large the consumer that lives on was at each part of it."""
    chance = random.Random(3)
    steps = {CHAOS * n / (KILLS + 1): "kill" for n in range(1, KILLS + 1)}
    steps |= {CHAOS * 0.33: "join", CHAOS * 0.5: "fall", CHAOS * 0.66: "leave"}
    todo = sorted(steps.items())
    for _ in range(2):
        workers.start()
    connection: Any = await asyncpg.connect(workers.database.superuser)
    first, memory = workers.first, list[tuple[float, int]]()
    while await connection.fetchval(_READ) < sent:
        done = await connection.fetchval(_PROGRESS) / events
        if todo and done >= todo[0][0]:
            await happen(todo.pop(0)[1], broker, workers, chance)
        memory.append((done, first.memory_info().rss))
        assert all(process.poll() is None for process in workers.running), workers.log.read_text()[-2_000:]
        await asyncio.sleep(0.1)
    await connection.close()
    assert not todo, f"never came to {todo}"
    assert workers.first == first
    return memory


def growth(memory: list[tuple[float, int]], since: float) -> int:
    """Between the middle of the first third and that of the last: what a batch takes comes and goes."""
    sizes = [size for done, size in memory if done > since]
    third = max(1, len(sizes) // 3)
    return round(median(sizes[-third:]) - median(sizes[:third]))


async def happen(what: str, broker: Broker, workers: Workers, chance: random.Random) -> None:
    match what:
        case "kill":
            workers.end(chance.randrange(1, len(workers.running)), signal.SIGKILL)
            workers.start()
        case "join":
            workers.start()
        case "leave":
            workers.end(1, signal.SIGTERM)
        case "fall":
            await broker.fall()


async def check(database: ServiceDatabase, expected: Any) -> None:
    rows = await query(database.superuser, "SELECT * FROM tenant_usage WHERE position > 0")
    assert {r["tenant_id"]: (*amounts(r), r["position"]) for r in rows} == expected.totals
    sql = "SELECT *, total_size AS bytes, file_count AS files FROM usage_breakdown WHERE file_count > 0"
    rows = await query(database.superuser, sql)
    assert {(r["tenant_id"], r["file_type"], r["category"]): amounts(r) for r in rows} == expected.kinds
    assert sum(trashed for _, _, trashed, _ in expected.kinds.values()) > 0
    rows = await query(database.superuser, "SELECT * FROM alert WHERE metric = 'storage'")
    alerts = [(r["tenant_id"], r["value"], r["armed"], r["used"], r["cleared_at"] is not None) for r in rows]
    assert len(alerts) == len(set(alerts))
    assert set(alerts) == expected.alerts
    assert len(alerts) > 100
    rows = await query(database.superuser, "SELECT type, count(*) AS n FROM outbox_event GROUP BY type")
    told = {row["type"]: row["n"] for row in rows}
    cleared = sum(over for *_, over in expected.alerts)
    assert told == {"threshold.crossed": len(alerts), "threshold.cleared": cleared}


def heard(address: str, number: int) -> list[Notice]:
    """What `alerts.v1` tells whoever listens, sorted. A relay that starts anew may send again what it has sent; under
    the same number it must say the same, and no number is left out.
    """
    told: dict[tuple[UUID, int], Notice] = {}
    listener = Consumer({"bootstrap.servers": address, "group.id": "heard", "auto.offset.reset": "earliest"})
    listener.subscribe(["alerts.v1"])
    until = time.monotonic() + 60
    while time.monotonic() < until:
        record = listener.poll(0.5)
        if record is None and len(told) >= number:
            break  # and nothing more comes
        if record is not None and record.error() is None:
            tenant, seq, notice = _read(record)
            assert told.setdefault((tenant, seq), notice) == notice
    listener.close()
    last = Counter(tenant for tenant, _ in told)
    assert set(told) == {(tenant, seq) for tenant, count in last.items() for seq in range(1, count + 1)}
    return sorted(told.values())


def _read(record: Any) -> tuple[UUID, int, Notice]:
    headers, tenant = dict(record.headers()), UUID(record.key().decode())
    what, body = headers["ce_type"].decode(), json.loads(record.value())
    used = body["used"] if what == "threshold.crossed" else 0
    return tenant, int(headers["ce_tenantseq"]), (tenant, what, body["percent"], body["armed"], used)
