"""Events of thousands of tenants, some sent twice, and what they come to by SQL that shares no code with ours."""

import itertools
import random
from array import array
from collections import deque
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from confluent_kafka import KafkaException, Producer

TENANTS = 5_000
KINDS = [
    ("image", "avatars"),
    ("image", "properties"),
    ("document", "documents"),
    ("video", "projects"),
    ("other", "documents"),
]
SIZE = 1_000  # bytes of a file on average
SHARE = 10  # one record in so many is sent again
WINDOW = 5_000  # records later, at most
MINUTES = 120  # of the tenants' time

_FILE = (
    '{{"tenant_id":"{tenant}","file_id":"{file:032x}","path":"p","name":"n","size":{size},"content_type":"a/b",'
    '"file_type":"{kind[0]}","category":"{kind[1]}","subcategory":null,"entity_id":null,"project_id":null,'
    '"sha256":"00","uploaded_by":null,"stored_at":"{at}","folder":"","version_of":null'
)
_BEFORE = (
    '{{"path":"p","name":"n","size":{size},"file_type":"{kind[0]}","category":"{kind[1]}","subcategory":null,'
    '"entity_id":null,"project_id":null,"folder":"","sha256":"00"}}'
)

_EVENTS = """
    CREATE UNLOGGED TABLE event (tenant int, seq int, file_type text, category text, bytes bigint, files int,
        trashed_bytes bigint, trashed_files int)
"""
_TOTALS = """
    SELECT tenant, sum(bytes)::bigint AS bytes, sum(files)::bigint AS files, max(seq) AS position,
        sum(trashed_bytes)::bigint AS trashed_bytes, sum(trashed_files)::bigint AS trashed_files
    FROM event GROUP BY tenant
"""
_KINDS = """
    SELECT tenant, file_type, category, sum(bytes)::bigint AS bytes, sum(files)::bigint AS files,
        sum(trashed_bytes)::bigint AS trashed_bytes, sum(trashed_files)::bigint AS trashed_files
    FROM event GROUP BY 1, 2, 3 HAVING sum(files) > 0
"""
# Upward past a share of the limit: the n-th time is arming n. It is over when a later entry is below it again.
_CROSSINGS = """
    WITH entry AS (
        SELECT e.tenant, seq, sum(sum(bytes)) OVER (PARTITION BY e.tenant ORDER BY seq) AS used
        FROM event AS e GROUP BY e.tenant, seq
    ), step AS (
        SELECT tenant, percent, greatest(1, ceil("limit" * percent / 100.0)) AS bytes
        FROM tenant_limit, unnest(ARRAY[80, 95, 100]) AS percent
    ), walk AS (
        SELECT tenant, percent, seq, used, used >= bytes AS over,
            coalesce(lag(used >= bytes) OVER (PARTITION BY tenant, percent ORDER BY seq), false) AS was
        FROM entry JOIN step USING (tenant)
    ), up AS (
        SELECT tenant, percent, seq, used, row_number() OVER (PARTITION BY tenant, percent ORDER BY seq) AS armed
        FROM walk WHERE over AND NOT was
    ), down AS (
        SELECT tenant, percent, row_number() OVER (PARTITION BY tenant, percent ORDER BY seq) AS armed
        FROM walk WHERE NOT over AND was
    )
    SELECT tenant, percent, armed, used::bigint, down.armed IS NOT NULL AS cleared
    FROM up LEFT JOIN down USING (tenant, percent, armed)
"""


def tenant_id(number: int) -> UUID:
    return UUID(int=0x0195_0000_0000_7000_8000_0000_0000_0000 + number)


@dataclass(slots=True)
class Tenant:
    """Fills up past its limit, empties again, and so on; small ones never get there."""

    number: int
    limit: int
    key: bytes = b""
    seq: int = 0
    used: int = 0
    filling: bool = True
    files: "array[int]" = field(default_factory=lambda: array("q"))  # size * len(KINDS) + kind
    trash: "array[int]" = field(default_factory=lambda: array("q"))

    def __post_init__(self) -> None:
        self.key = str(tenant_id(self.number)).encode()

    def choose(self, chance: random.Random) -> str:
        if self.used > self.limit * 11 // 10:
            self.filling = False
        elif self.used < self.limit // 2:
            self.filling = True
        drawn = chance.random()
        if not self.files or drawn < (0.85 if self.filling else 0.1):
            return "stored"
        if drawn > 0.95:
            return "replaced"
        if 0.88 < drawn < 0.91:
            return "trashed"
        return "purged" if self.trash and drawn > 0.91 else "deleted"


def _take(held: "array[int]", chance: random.Random) -> tuple[int, int]:
    """Size and kind of one of these files, which is among them no more."""
    place = chance.randrange(len(held))
    held[place], held[-1] = held[-1], held[place]
    return divmod(held.pop(), len(KINDS))


class Events:
    """Sends `count` records of Zipf's tenants, and again every tenth; notes each effect in a file for COPY."""

    def __init__(self, count: int, notes: Path) -> None:
        self._chance = random.Random(20)
        self._count = count
        self._notes = notes
        # The busiest has a tenth of everything; limits are such that a busy tenant passes its own some dozens of times.
        shares = [count / (rank + 1) / 9.1 for rank in range(TENANTS)]
        self.tenants = [Tenant(n, SIZE * int(max(20, min(2_000, share / 10)))) for n, share in enumerate(shares)]
        self._weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(TENANTS)))

    def send(self, bootstrap: str) -> int:
        """Returns how many records were sent, repeats among them."""
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "queue.buffering.max.messages": 100_000,
            }
        )
        sent, recent = 0, deque[tuple[bytes, bytes, list[Any]]](maxlen=WINDOW)
        with self._notes.open("w") as notes:
            for start in range(0, self._count, 10_000):
                drawn = self._chance.choices(
                    self.tenants, cum_weights=self._weights, k=min(10_000, self._count - start)
                )
                for number, tenant in enumerate(drawn, start):
                    record = self._next(tenant, number, notes.write)
                    recent.append(record)
                    _produce(producer, record)
                    sent += 1
                    if number % SHARE == 0:
                        _produce(producer, self._chance.choice(recent))
                        sent += 1
        if producer.flush(120):
            raise KafkaException("not everything was sent")
        return sent

    def _next(self, tenant: Tenant, number: int, note: Any) -> tuple[bytes, bytes, list[Any]]:
        what, size, kind = tenant.choose(self._chance), self._chance.randrange(2 * SIZE), self._chance.randrange(5)
        tenant.seq += 1
        second = number * MINUTES * 60 // self._count
        at = f"2026-03-10T{10 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
        extra = ""

        def effect(kind: int, size: int, files: int, trashed_bytes: int = 0, trashed_files: int = 0) -> None:
            amounts = f"{size}\t{files}\t{trashed_bytes}\t{trashed_files}"
            note(f"{tenant.number}\t{tenant.seq}\t{KINDS[kind][0]}\t{KINDS[kind][1]}\t{amounts}\n")

        match what:
            case "trashed":
                size, kind = _take(tenant.files, self._chance)
                tenant.trash.append(size * len(KINDS) + kind)
                effect(kind, 0, 0, size, 1)
                extra = f',"trashed_at":"{at}","trashed_by":null,"purge_at":"{at}"'
            case "deleted" | "purged":
                size, kind = _take(tenant.trash if what == "purged" else tenant.files, self._chance)
                effect(kind, -size, -1, *((-size, -1) if what == "purged" else ()))
                extra = f',"deleted_at":"{at}","deleted_by":null,"trashed":{"true" if what == "purged" else "false"}'
                tenant.used -= size
            case "replaced":
                old, before = _take(tenant.files, self._chance)
                effect(before, -old, -1)
                previous = _BEFORE.format(size=old, kind=KINDS[before])
                extra = f',"previous":{previous},"replaced_at":"{at}","replaced_by":null'
                tenant.used -= old
        if what in {"stored", "replaced"}:
            tenant.used += size
            tenant.files.append(size * len(KINDS) + kind)
            effect(kind, size, 1)
        body = _FILE.format(tenant=tenant.key.decode(), file=number, size=size, kind=KINDS[kind], at=at) + extra + "}"
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"%032x" % number),
            ("ce_type", b"file." + what.replace("purged", "deleted").encode()),
            ("ce_time", at.encode()),
            ("ce_tenantseq", b"%d" % tenant.seq),
        ]
        return tenant.key, body.encode(), headers


def _produce(producer: Producer, record: tuple[bytes, bytes, list[Any]]) -> None:
    key, value, headers = record
    while True:
        try:
            producer.produce("files.v1", value, key, headers=headers)
        except BufferError:
            producer.poll(0.05)
        else:
            return


Notice = tuple[UUID, str, int, int, int]  # tenant, type, percent, armed, used; of what is over, 0


@dataclass(frozen=True)
class Expected:
    totals: dict[UUID, tuple[int, ...]]  # bytes, files, of them in the trash, position
    kinds: dict[tuple[UUID, str, str], tuple[int, ...]]  # bytes, files, of them in the trash
    alerts: set[tuple[UUID, int, int, int, bool]]  # tenant, percent, armed, used, whether it is over

    @property
    def notices(self) -> list[Notice]:
        """What listeners must be told, sorted."""
        crossed = [
            (tenant, "threshold.crossed", percent, armed, used) for tenant, percent, armed, used, _ in self.alerts
        ]
        cleared = [
            (tenant, "threshold.cleared", percent, armed, 0) for tenant, percent, armed, _, over in self.alerts if over
        ]
        return sorted(crossed + cleared)


amounts = itemgetter("bytes", "files", "trashed_bytes", "trashed_files")


async def fold(dsn: str, notes: Path, tenants: list[Tenant]) -> Expected:
    """In a database of its own."""
    connection: Any = await asyncpg.connect(dsn)
    try:
        await connection.execute(_EVENTS)
        await connection.copy_to_table("event", source=str(notes), format="text", timeout=600)
        await connection.execute('CREATE TABLE tenant_limit (tenant int, "limit" bigint)')
        await connection.copy_records_to_table("tenant_limit", records=[(t.number, t.limit) for t in tenants])
        await connection.execute("SET work_mem = '256MB'")
        totals = await connection.fetch(_TOTALS, timeout=600)
        kinds = await connection.fetch(_KINDS, timeout=600)
        crossings = await connection.fetch(_CROSSINGS, timeout=1200)
    finally:
        await connection.close()
    return Expected(
        {tenant_id(row["tenant"]): (*amounts(row), row["position"]) for row in totals},
        {(tenant_id(row["tenant"]), row["file_type"], row["category"]): amounts(row) for row in kinds},
        {(tenant_id(r["tenant"]), r["percent"], r["armed"], r["used"], r["cleared"]) for r in crossings},
    )
