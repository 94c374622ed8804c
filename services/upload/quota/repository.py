"""One transaction of changes to one tenant's account, with their ledger entries."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.upload.ledger.rules import Entry, Head
from services.upload.quota import books
from services.upload.quota.books import Books
from services.upload.quota.changes import Change, Result
from services.upload.quota.rules import Alter, Delete, Held, Images, Reserve, Settle, State
from services.upload.quota.sheet import Known, Place


class TenantUnknown(LookupError):
    """No account yet: its entitlements have to be asked for first."""


# An erased tenant stores nothing any more.
_LOCK = """
    SELECT CASE WHEN deleted_at IS NULL THEN limit_bytes ELSE -1 END AS limit_bytes, used, reserved, files, seq,
        head_hash, images_month, versions_kept
    FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE
"""

# Read after the lock: a snapshot taken while waiting for it would be old. $1 are uploads, which may be files already;
# $2 are files. The worker changes accounts too, and row security shows it everybody's: the tenant is always named.
# Each id and key by itself: as long as a table has no statistics, PostgreSQL would rather read all files of the tenant.
# $5 is the ledger's last entry.
_KNOWN = """
    SELECT 'held' AS kind, id, size, image_month, image_paid, NULL::jsonb AS file
    FROM reservation WHERE id = ANY($1::uuid[])
    UNION ALL
    SELECT 'file', f.id, f.size, NULL, NULL, to_jsonb(f) FROM unnest($1::uuid[] || $2::uuid[]) AS asked(id),
        LATERAL (SELECT * FROM stored_file WHERE id = asked.id LIMIT 1) AS f
    WHERE f.tenant_id = $4
    UNION ALL
    SELECT 'file', f.id, f.size, NULL, NULL, to_jsonb(f) FROM unnest($3::text[]) AS asked(key),
        LATERAL (SELECT * FROM stored_file WHERE tenant_id = $4 AND idempotency_key = asked.key LIMIT 1) AS f
    UNION ALL
    SELECT 'last', id, NULL, NULL, NULL, to_jsonb(occurred_at)
    FROM storage_transaction WHERE tenant_id = $4 AND seq = $5
"""

_PLACES = """
    SELECT DISTINCT ON (f.category, f.folder, f.name) to_jsonb(f) AS file
    FROM unnest($1::text[], $2::text[], $3::text[]) AS p(category, folder, name)
    JOIN stored_file AS f ON f.category = p.category AND f.folder = p.folder AND f.name = p.name
    WHERE f.tenant_id = $4 AND f.version_of IS NULL AND f.trashed_at IS NULL
    ORDER BY f.category, f.folder, f.name, f.created_at DESC, f.id DESC
"""

_IMAGES = """
    SELECT m.month, coalesce(i.used, 0) AS used, coalesce(i.bought, 0) AS bought, r.reserved, r.buying
    FROM unnest($2::date[]) AS m(month) LEFT JOIN image_month AS i ON i.tenant_id = $1 AND i.month = m.month,
        LATERAL (SELECT count(*) AS reserved, count(*) FILTER (WHERE image_paid) AS buying
            FROM reservation WHERE tenant_id = $1 AND image_month = m.month) AS r
"""

_EXPIRED = """
    SELECT id, size, image_month, image_paid FROM reservation
    WHERE tenant_id = $2 AND expires_at < now() AND NOT id = ANY($1::uuid[])
"""

_VERSIONS = "SELECT id, to_jsonb(f) AS file FROM stored_file AS f WHERE version_of = ANY($1::uuid[])"

_ACCOUNT = """
    WITH held AS (
        INSERT INTO reservation AS r (id, tenant_id, size, expires_at, image_month, image_paid)
        SELECT h.id, $1, h.size, h.expires_at, h.month, h.paid
        FROM unnest($2::uuid[], $3::bigint[], $4::timestamptz[], $11::date[], $12::bool[])
            AS h(id, size, expires_at, month, paid)
        ON CONFLICT (id) DO UPDATE SET size = excluded.size, expires_at = excluded.expires_at,
            image_month = excluded.image_month, image_paid = excluded.image_paid
    ), gone AS (
        DELETE FROM reservation WHERE id = ANY($5::uuid[])
    )
    UPDATE tenant_storage SET used = $6, reserved = $7, files = $8, seq = $9, head_hash = $10 WHERE tenant_id = $1
"""

_IMAGES_USED = """
    INSERT INTO image_month (tenant_id, month, used, bought)
    SELECT $1, * FROM unnest($2::date[], $3::bigint[], $4::bigint[])
    ON CONFLICT (tenant_id, month) DO UPDATE SET used = excluded.used, bought = excluded.bought
"""

# Those whose credits are still held for them; that they are given back is decided under the account's lock, too.
_PAYING = "SELECT upload_id FROM image_purchase WHERE upload_id = ANY($1::uuid[]) AND state = 'open'"

# The request that stored it settles first; after that the job does.
_BOUGHT = """
    UPDATE image_purchase SET state = 'stored', due_at = now() + interval '10 seconds'
    WHERE upload_id = ANY($1::uuid[])
"""

_COLUMNS = """id, tenant_id, path, name, size, content_type, file_type, category, subcategory, entity_id, project_id,
    sha256, uploaded_by, created_at, metadata, idempotency_key, folder, location, state, version_of, trashed_at,
    trashed_by, purge_at, updated_at"""

_ROWS = "jsonb_populate_recordset(NULL::stored_file, $1::jsonb) AS f"

_INSERT = f"INSERT INTO stored_file ({_COLUMNS}) SELECT {_COLUMNS} FROM {_ROWS}"

_UPDATE = f"""
    UPDATE stored_file AS s SET ({_COLUMNS}) = (SELECT {_COLUMNS} FROM {_ROWS} WHERE f.id = s.id)
    WHERE s.id = ANY($2::uuid[])
"""

_REMOVE = "DELETE FROM stored_file WHERE id = ANY($1::uuid[])"

_GARBAGE = """
    INSERT INTO blob_garbage (tenant_id, location, path, size, at)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::timestamptz[])
    ON CONFLICT (location, path) DO UPDATE SET at = excluded.at
"""

_TASKS = """
    INSERT INTO file_task (tenant_id, file_id, kind) SELECT $1, * FROM unnest($2::uuid[], $3::text[])
    ON CONFLICT (file_id, kind) DO UPDATE SET attempts = 0, due_at = now(), error = NULL
"""

LEDGER = """
    INSERT INTO storage_transaction (tenant_id, seq, id, action, type, file_id, file_path, file_name, file_size, delta,
        content_type, file_type, category, uploaded_by, metadata, occurred_at, body, traceparent, prev_hash, hash,
        previous_size, previous_file_type, previous_category, delta_files, owner, project_id, previous_owner,
        previous_project_id, is_version, was_trashed, image_month)
    SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::text[],
        $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::uuid[], $15::jsonb[],
        $16::timestamptz[], $17::text[], $18::text[], $19::bytea[], $20::bytea[], $21::bigint[], $22::text[],
        $23::text[], $24::bigint[], $25::uuid[], $26::uuid[], $27::uuid[], $28::uuid[], $29::bool[], $30::bool[],
        $31::date[])
"""


async def commit_batch(connection: Any, tenant: UUID, changes: Sequence[Change]) -> list[Result]:
    """Everything of one batch inside the caller's transaction. Raises TenantUnknown."""
    row = await connection.fetchrow(_LOCK, tenant)
    if row is None:
        raise TenantUnknown(tenant)
    known = await _read(connection, tenant, row, changes)
    now = datetime.now(UTC)
    done, results = books.run(known, now, {}, changes)
    expired: dict[UUID, Held] = {}
    if any(result.refused for result in results):
        # Nothing is refused for the sake of an upload that died.
        uploads = [upload for change in changes for upload in _uploads(change)]
        rows = await connection.fetch(_EXPIRED, uploads, tenant)
        expired = {r["id"]: Held(r["size"], r["image_month"], r["image_paid"]) for r in rows}
        if expired:
            done, results = books.run(known, now, expired, changes)
    await _write(connection, tenant, done, expired)
    return results


async def _read(connection: Any, tenant: UUID, row: Any, changes: Sequence[Change]) -> Known:
    state = State(row["limit_bytes"], row["used"], row["reserved"], row["files"], row["images_month"])
    known = Known(state, Head(row["seq"], row["head_hash"]), row["versions_kept"])
    files = [change.command.id for change in changes if isinstance(change.command, Delete | Alter)]
    uploads = [u for change in changes if not isinstance(change.command, Delete | Alter) for u in _uploads(change)]
    files += [given for change in changes for given in change.given]
    files += [change.replaces for change in changes if change.replaces is not None]
    keys = [change.idempotency_key for change in changes if change.idempotency_key is not None]
    for found in await connection.fetch(_KNOWN, uploads, files, keys, tenant, row["seq"]):
        if found["kind"] == "last":
            known.head = replace(known.head, at=datetime.fromisoformat(found["file"]))
            continue
        if found["kind"] == "held":
            known.held[found["id"]] = Held(found["size"], found["image_month"], found["image_paid"])
            continue
        known.rows[found["id"]] = found["file"]
        if (key := found["file"]["idempotency_key"]) is not None:
            known.keys[key] = found["id"]
    await _read_places(connection, tenant, known, changes)
    await _read_versions(connection, known, changes)
    await _read_images(connection, tenant, known, changes)
    paying = [c.command.id for c in changes if isinstance(c.command, Reserve) and c.command.paid]
    if paying:
        known.paying = frozenset(row["upload_id"] for row in await connection.fetch(_PAYING, paying))
    return known


def _uploads(change: Change) -> tuple[UUID, ...]:
    return (change.command.id, *change.takes)


async def _read_places(connection: Any, tenant: UUID, known: Known, changes: Sequence[Change]) -> None:
    wanted = [(c.file.category, c.file.folder, c.file.name) for c in changes if c.exclusive and c.file is not None]
    if not wanted:
        return
    places: dict[Place, UUID] = {}
    for found in await connection.fetch(_PLACES, *map(list, zip(*wanted, strict=True)), tenant):
        file = found["file"]
        file_id = UUID(file["id"])
        known.rows[file_id] = file
        places[file["category"], file["folder"], file["name"]] = file_id
    known.places = places


async def _read_versions(connection: Any, known: Known, changes: Sequence[Change]) -> None:
    """Older versions of what is deleted, replaced or judged: they go with their file, or when there are too many of
    them, or come back.
    """
    deleted = [change.command.id for change in changes if isinstance(change.command, Delete)]
    replaced = [change.replaces for change in changes if change.replaces is not None]
    replaced += [change.command.id for change in changes if change.fate is not None]
    concerned = {*deleted, *replaced, *(known.places or {}).values()}
    if concerned:
        rows = await connection.fetch(_VERSIONS, list(concerned))
        known.rows |= {row["id"]: row["file"] for row in rows}


async def _read_images(connection: Any, tenant: UUID, known: Known, changes: Sequence[Change]) -> None:
    asked = [c.command.month for c in changes if isinstance(c.command, Reserve | Settle)]
    months = {month for month in asked if month is not None}
    months |= {held.month for held in known.held.values() if held.month is not None}
    if not months:
        return
    found = await connection.fetch(_IMAGES, tenant, sorted(months))
    images = {row["month"]: Images(row["used"], row["reserved"], row["bought"], row["buying"]) for row in found}
    state = known.state
    known.state = State(state.limit, state.used, state.reserved, state.files, state.images_limit, images)


async def _write(connection: Any, tenant: UUID, done: Books, expired: Mapping[UUID, Held]) -> None:
    # A file takes over the path of the version that comes back, a version the one its file has just left.
    if done.deleted:
        await connection.execute(_REMOVE, done.deleted)
    if done.updated:
        await connection.execute(_UPDATE, list(done.updated.values()), list(done.updated))
    if done.inserted:
        await connection.execute(_INSERT, done.inserted)
    if done.garbage:
        once = {(location, path): (location, path, size, at) for location, path, size, at in done.garbage}
        await connection.execute(_GARBAGE, tenant, *_columns(list(once.values())))
    if done.tasks:
        await connection.execute(_TASKS, tenant, *_columns(done.tasks))
    if done.bought:
        await connection.execute(_BOUGHT, done.bought)
    if done.entries:
        await connection.execute(LEDGER, tenant, *Entry.columns(done.entries))
    if done.entries or done.touched or expired:
        await _write_account(connection, tenant, done, expired)


async def _write_account(connection: Any, tenant: UUID, done: Books, expired: Mapping[UUID, Held]) -> None:
    """Each reservation once, as the last change of the batch left it."""
    live = [reservation for reservation in done.touched if reservation in done.held]
    gone = itertools.chain((reservation for reservation in done.touched if reservation not in done.held), expired)
    state = done.state
    await connection.execute(
        _ACCOUNT,
        tenant,
        live,
        [done.held[reservation].size for reservation in live],
        [done.touched[reservation] for reservation in live],
        list(gone),
        state.used,
        state.reserved,
        state.files,
        done.head.seq,
        done.head.hash,
        [done.held[reservation].month for reservation in live],
        [done.held[reservation].paid for reservation in live],
    )
    before = done.known.state.images
    used = {m: i for m, i in state.images.items() if i.used != before.get(m, Images()).used}
    if used:
        counts = [images.used for images in used.values()], [images.bought for images in used.values()]
        await connection.execute(_IMAGES_USED, tenant, list(used), *counts)


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
