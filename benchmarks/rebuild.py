"""All counters folded again from the ledgers, over HTTP, beside one `GROUP BY` over the same rows and its write.

ROWS: of the ledger; a row takes 1.1 KB, with its indexes.
"""

import os
import time
from typing import Any

from benchmarks.report import Row
from benchmarks.service import Service, service
from services.usage.counters.service import CounterService
from services.usage.rebuild.provider import UploadFolds
from services.usage.rebuild.service import Rebuilder
from services.usage.thresholds.service import ThresholdService
from shared.clock import SystemClock
from shared.db import Database
from shared.http import ServiceClient
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.services.upload.conftest import SECRET

ROWS = int(os.environ.get("ROWS", "10000000"))
TENANTS = ROWS // 2_000
ROUNDS = 3

# As real entries are, with a body of the usual length; every tenth a deletion, every twentieth a move.
_FILL = """
    INSERT INTO storage_transaction (tenant_id, seq, id, action, type, file_id, file_path, file_name, file_size, delta,
        content_type, file_type, category, uploaded_by, metadata, occurred_at, body, prev_hash, hash,
        previous_size, previous_file_type, previous_category, owner)
    SELECT tenant, seq, gen_random_uuid(), action, 'file.stored', gen_random_uuid(), tenant || '/' || n, 'report.pdf',
        1000, CASE action WHEN 'delete' THEN -1000 WHEN 'move' THEN 0 ELSE 1000 END, 'application/pdf', kind,
        'documents', owner, '{}', now(), repeat('x', 620), sha256('1'), sha256('2'),
        CASE action WHEN 'move' THEN 1000 END, CASE action WHEN 'move' THEN 'document' END,
        CASE action WHEN 'move' THEN 'documents' END, owner
    FROM generate_series(0, $1::int - 1) AS n,
        LATERAL (SELECT ('01950000-0000-7000-8000-' || lpad(to_hex(n % $2), 12, '0'))::uuid, n / $2 + 1)
            AS t(tenant, seq),
        LATERAL (SELECT CASE WHEN seq % 10 = 9 THEN 'delete' WHEN seq % 20 = 8 THEN 'move' ELSE 'upload' END,
            (ARRAY['document', 'image', 'video'])[seq % 3 + 1],
            ('01950000-0000-7000-9000-' || lpad(to_hex(seq % 7), 12, '0'))::uuid) AS r(action, kind, owner)
"""
# By what the counters are kept by; and by less, which is not enough to fill them.
_GROUP = """
    CREATE TABLE grouped AS SELECT {keys}, sum(delta) AS bytes, count(*) AS files, max(seq)
    FROM storage_transaction GROUP BY {keys}
"""
KEYS = "tenant_id, file_type, category, project_id, owner"
FEWER = "tenant_id, file_type, category"
# Those of constraints stay.
_INDEXES = """
    SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS made
    FROM pg_index AS i LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid
    WHERE i.indrelid = 'storage_transaction'::regclass AND c.oid IS NULL
"""
_COUNTED = """
    INSERT INTO tenant_usage (tenant_id, position, updated_at, last_reset)
    SELECT DISTINCT ('01950000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $1::int / $2::int, now(), now()
    FROM generate_series(0, $2 - 1) AS n
"""


async def run(pg: PostgresServer) -> list[Row]:
    async with service(pg) as upload:
        usage = pg.create("usage")
        await _fill(upload)
        grouped, fewer, compared, repaired = [], [], [], []
        for _ in range(ROUNDS):
            grouped.append(await _group(upload, KEYS))
            fewer.append(await _group(upload, FEWER))
            await query(usage.superuser, "TRUNCATE tenant_usage CASCADE")
            await query(usage.superuser, _COUNTED, ROWS, TENANTS)
            repaired.append(await _rebuild(upload, usage, repair=True))  # from nothing: every counter is put right
            compared.append(await _rebuild(upload, usage, repair=False))
    raw = ROWS / min(grouped)
    kinds = f"{min(fewer) / min(compared):.2f} and {min(fewer) / min(repaired):.2f} × one by tenant and kind alone"
    return [
        _row("", ROWS / min(compared), raw, f"compares all sums there, all equal. {kinds}"),
        _row(
            ", every counter put right",
            ROWS / min(repaired),
            raw,
            f"puts {TENANTS:,} tenants right that differ in everything, with what stands by their counters",
        ),
    ]


def _row(which: str, ours: float, raw: float, note: str) -> Row:
    """`raw`: by tenant, kind, project and user, hashed in memory as ours is."""
    return Row(
        f"rebuild of {ROWS:,} ledger entries of {TENANTS:,} tenants{which}",
        "entries/s",
        ours,
        None,
        raw,
        f"{ours / raw:.2f} × one GROUP BY and its write",
        "≥ 0.5 × one GROUP BY and its write",
        ours / raw >= 0.5,
        f"the best of {ROUNDS}; ours goes over HTTP to another database, folds into shadow tables, and {note}",
    )


async def _fill(upload: Service) -> None:
    """Without its indexes and its write-ahead log, which take longest and of which nothing is measured."""
    async with upload.connection() as connection:
        indexes = await connection.fetch(_INDEXES)
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['name']}")
        await connection.execute("ALTER TABLE storage_transaction DISABLE TRIGGER USER, SET UNLOGGED")
        await connection.execute(_FILL, ROWS, TENANTS, timeout=3600)
        for index in indexes:
            await connection.execute(index["made"], timeout=3600)
        await connection.execute("VACUUM ANALYZE storage_transaction", timeout=3600)


async def _group(upload: Service, keys: str) -> float:
    async with upload.connection() as connection:
        await connection.execute("SET work_mem = '64MB'; SET enable_sort = off")
        begun = time.perf_counter()
        await connection.execute(_GROUP.format(keys=keys), timeout=3600)
        seconds = time.perf_counter() - begun
        await connection.execute("DROP TABLE grouped")
    return seconds


async def _rebuild(upload: Service, usage: ServiceDatabase, *, repair: bool) -> float:
    client: Any = ServiceClient(upload.url, SECRET, issuer="usage", audience="upload")
    async with client, Database(usage.worker) as database:
        counters = CounterService(ThresholdService(), SystemClock())
        rebuilder = Rebuilder(database, UploadFolds(client), counters, SystemClock())
        begun = time.perf_counter()
        done = (await rebuilder.run(None, "benchmark", repair=repair)).done
        seconds = time.perf_counter() - begun
    assert done.differing == (TENANTS if repair else 0), done
    assert done.entries == ROWS
    return seconds
