"""All SQL on exports. Runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.exports.rules import ACCOUNT, MANIFEST, TRANSACTIONS, Entry, member_name

_CREATE = "INSERT INTO export (id, tenant_id, wanted, requested_by) VALUES ($1, $2, $3, $4) RETURNING *"
_OPEN = "SELECT count(*) FROM export WHERE status IN ('pending', 'running', 'verifying')"
_LIST = "SELECT * FROM export WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"
_DISCARD = """
    WITH gone AS (
        UPDATE export SET status = 'expired', ended_at = coalesce(ended_at, now()), resume = NULL
        WHERE id = $1 AND status <> 'expired' RETURNING *
    ), garbage AS (
        INSERT INTO blob_garbage (tenant_id, location, path, size)
        SELECT tenant_id, location, $2, coalesce(size, 0) FROM gone WHERE location IS NOT NULL ON CONFLICT DO NOTHING
    )
    DELETE FROM export_entry WHERE export_id IN (SELECT id FROM gone)
"""
_PROBLEMS = """
    SELECT file ->> 'id' AS file_id, file ->> 'name' AS name, problem FROM export_entry
    WHERE export_id = $1 AND problem IS NOT NULL ORDER BY number LIMIT $2
"""
_DUE = """
    SELECT * FROM export WHERE status IN ('pending', 'running', 'verifying') AND due_at <= now() AND NOT id = ANY($1)
    ORDER BY id LIMIT $2
"""
# One statement is one snapshot: the files, and the ledger's position that led to them.
_SNAPSHOT = """
    WITH entries AS (
        INSERT INTO export_entry (export_id, tenant_id, number, file, problem)
        SELECT $1, $2, row_number() OVER (ORDER BY f.created_at, f.id),
            to_jsonb(f) || jsonb_build_object('taken', row_number() OVER (
                PARTITION BY f.version_of IS NULL AND f.trashed_at IS NULL,
                    lower(f.category), lower(f.folder), lower(f.name) ORDER BY f.created_at, f.id) > 1),
            CASE WHEN f.state <> 'ready' THEN f.state END
        FROM stored_file AS f
        WHERE f.tenant_id = $2 AND ($3::text[] IS NULL OR f.category = ANY($3))
          AND (f.version_of IS NULL OR $4) AND (f.trashed_at IS NULL OR $5)
        RETURNING (file ->> 'size')::bigint AS size
    )
    UPDATE export SET status = 'running', location = $6, upload_id = $7, resume = NULL, written = 0,
        files_total = (SELECT count(*) FROM entries), bytes_total = (SELECT coalesce(sum(size), 0) FROM entries),
        position = (SELECT seq FROM tenant_storage WHERE tenant_id = $2), started_at = now()
    WHERE id = $1 AND status = 'pending' RETURNING *
"""
_OWN = """
    INSERT INTO export_entry (export_id, tenant_id, number, name)
    SELECT $1, $2, $3 + n, name FROM unnest($4::text[]) WITH ORDINALITY AS t(name, n)
"""
_ENTRIES = """
    SELECT number, file, name, at, size, crc, problem FROM export_entry
    WHERE export_id = $1 AND number > $2 ORDER BY number LIMIT $3
"""
_FIRST_UNWRITTEN = """
    SELECT coalesce(min(number), 0) FROM export_entry
    WHERE export_id = $1 AND at IS NULL AND (problem IS NULL OR problem = 'damaged')
"""
_NOTE = """
    UPDATE export_entry AS e SET at = n.at, size = n.size, crc = n.crc, problem = n.problem
    FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[]) AS n(number, at, size, crc, problem)
    WHERE e.export_id = $1 AND e.number = n.number
"""
_PROGRESS = """
    UPDATE export SET written = $2, resume = $3, files_done = files_done + $4, bytes_done = bytes_done + $5
    WHERE id = $1 AND status = 'running' RETURNING id
"""
_PLACED = """
    UPDATE export SET status = 'verifying', size = $2, resume = NULL WHERE id = $1 AND status = 'running' RETURNING *
"""
# What is known to be damaged is said in the next manifest.
_RESTART = """
    WITH again AS (
        UPDATE export_entry SET at = NULL, size = NULL, crc = NULL,
            problem = CASE WHEN number = ANY($4::bigint[]) THEN 'damaged' ELSE nullif(problem, 'missing') END
        WHERE export_id = $1
    )
    UPDATE export SET status = 'running', upload_id = $2, written = 0, resume = NULL, files_done = 0, bytes_done = 0,
        attempts = attempts + 1, error = $3, due_at = now()
    WHERE id = $1 AND status IN ('running', 'verifying') RETURNING *
"""
_POSTPONE = """
    UPDATE export SET attempts = attempts + 1, error = $2,
        due_at = now() + make_interval(secs => least(300, power(2, attempts)))
    WHERE id = $1 AND status IN ('pending', 'running', 'verifying')
"""
_END = """
    UPDATE export SET status = $2, ended_at = now(), expires_at = now() + make_interval(days => $3), resume = NULL,
        error = $4
    WHERE id = $1 AND status IN ('pending', 'running', 'verifying') RETURNING *
"""
_HAS_PROBLEM = "SELECT EXISTS (SELECT FROM export_entry WHERE export_id = $1 AND problem IS NOT NULL)"
_EXPIRED = """
    SELECT id, tenant_id FROM export WHERE expires_at < now() AND status IN ('ready', 'incomplete', 'failed') LIMIT 100
"""
_FORGET = "DELETE FROM export WHERE status = 'expired' AND ended_at < now() - interval '90 days'"
_PLACE = "SELECT location, path FROM stored_file WHERE id = $1 AND sha256 = $2"
_TRANSACTIONS = """
    SELECT seq, id, action, type, occurred_at, delta, body, metadata, uploaded_by, encode(hash, 'hex') AS hash
    FROM storage_transaction WHERE tenant_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4
"""
_ACCOUNT = """
    SELECT to_jsonb(t) - 'head_hash' || jsonb_build_object('head_hash', encode(t.head_hash, 'hex'), 'images_by_month',
        (SELECT coalesce(jsonb_agg(to_jsonb(i) - 'tenant_id' ORDER BY month), '[]') FROM image_month AS i
         WHERE i.tenant_id = t.tenant_id))
    FROM tenant_storage AS t WHERE tenant_id = $1
"""


def path_of(tenant: UUID, export: UUID) -> str:
    return f"exports/{tenant}/{export}.zip"


async def create(connection: Any, export: UUID, tenant: UUID, wanted: dict[str, Any], by: UUID | None) -> Any:
    return await connection.fetchrow(_CREATE, export, tenant, wanted, by)


async def count_open(connection: Any) -> int:
    return int(await connection.fetchval(_OPEN))


async def find(connection: Any, export: UUID) -> Any | None:
    return await connection.fetchrow("SELECT * FROM export WHERE id = $1", export)


async def list_newest(connection: Any, limit: int, before: UUID | None) -> list[Any]:
    return list(await connection.fetch(_LIST, before, limit))


async def list_problems(connection: Any, export: UUID, limit: int) -> list[Any]:
    return list(await connection.fetch(_PROBLEMS, export, limit))


async def discard(connection: Any, tenant: UUID, export: UUID) -> None:
    """Its bytes become garbage, its row stays for the record."""
    await connection.execute(_DISCARD, export, path_of(tenant, export))


async def list_due(connection: Any, running: Sequence[UUID], limit: int) -> list[Any]:
    return list(await connection.fetch(_DUE, list(running), limit))


async def take_snapshot(connection: Any, export: Any, location: str, upload: UUID) -> Any | None:
    """The export as it is then; None when it is not waiting for one any more."""
    wanted = export["wanted"]
    found = await connection.fetchrow(
        _SNAPSHOT,
        export["id"],
        export["tenant_id"],
        wanted["categories"],
        wanted["include_versions"],
        wanted["include_trash"],
        location,
        upload,
    )
    if found is not None:
        own = [ACCOUNT, TRANSACTIONS, MANIFEST]
        await connection.execute(_OWN, export["id"], export["tenant_id"], found["files_total"], own)
    return found


async def list_entries(connection: Any, export: Any, after: int, limit: int) -> list[Entry]:
    rows = await connection.fetch(_ENTRIES, export["id"], after, limit)
    return [_entry(row, export["started_at"]) for row in rows]


def _entry(row: Any, snapshot: datetime) -> Entry:
    file = row["file"]
    name = row["name"] if file is None else member_name(file, taken=file["taken"])
    made = snapshot if file is None else datetime.fromisoformat(file["created_at"])
    return Entry(row["number"], file, name, made, row["at"], row["size"], row["crc"], row["problem"])


async def first_unwritten(connection: Any, export: UUID) -> int:
    """Its number; 0 when all are written."""
    return int(await connection.fetchval(_FIRST_UNWRITTEN, export))


async def note(connection: Any, export: UUID, written: int, resume: dict[str, Any], entries: Sequence[Entry]) -> bool:
    """What has been written up to a checkpoint. False when nobody wants the export any more."""
    columns = [[getattr(e, column) for e in entries] for column in ("number", "at", "size", "crc", "problem")]
    await connection.execute(_NOTE, export, *columns)
    files = [entry for entry in entries if entry.file is not None]
    size = sum(entry.size or 0 for entry in files)
    return bool(await connection.fetchval(_PROGRESS, export, written, resume, len(files), size))


async def note_placed(connection: Any, export: UUID, size: int) -> Any | None:
    return await connection.fetchrow(_PLACED, export, size)


async def restart(connection: Any, export: UUID, upload: UUID, why: str, damaged: Sequence[int]) -> Any | None:
    return await connection.fetchrow(_RESTART, export, upload, why, list(damaged))


async def postpone(connection: Any, export: UUID, why: str) -> None:
    await connection.execute(_POSTPONE, export, why)


async def end(connection: Any, export: UUID, status: str, days: int, error: str | None = None) -> Any | None:
    """As it is then; None when it has ended before."""
    return await connection.fetchrow(_END, export, status, days, error)


async def has_problem(connection: Any, export: UUID) -> bool:
    return bool(await connection.fetchval(_HAS_PROBLEM, export))


async def list_expired(connection: Any) -> list[Any]:
    return list(await connection.fetch(_EXPIRED))


async def forget_old(connection: Any) -> None:
    await connection.execute(_FORGET)


async def find_place(connection: Any, file: UUID, sha256: str) -> tuple[str, str] | None:
    """Where the same bytes are now."""
    row = await connection.fetchrow(_PLACE, file, sha256)
    return None if row is None else (row["location"], row["path"])


async def list_transactions(connection: Any, tenant: UUID, after: int, last: int, limit: int) -> list[Any]:
    return list(await connection.fetch(_TRANSACTIONS, tenant, after, last, limit))


async def read_account(connection: Any, tenant: UUID) -> dict[str, Any]:
    found: dict[str, Any] = await connection.fetchval(_ACCOUNT, tenant)
    return found
