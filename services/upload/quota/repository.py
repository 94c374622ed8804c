"""One transaction of changes to one tenant's account, with their ledger entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.upload.ledger.rules import Entry, Head
from services.upload.quota.rules import Command, Delete, Reserve, Settle, State, apply_all
from shared.events import FileDeleted, FileStored


class TenantUnknown(LookupError):
    """No account yet: its entitlements have to be asked for first."""


@dataclass(slots=True)
class Change:
    """A command and what has to be written with it."""

    command: Command
    lifetime: timedelta = timedelta(hours=1)  # of a reservation
    file: FileStored | None = None  # a settlement's
    metadata: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    by: UUID | None = None  # a deletion's
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """`ok` False: it did not fit, and `state` says why. `existing`: another upload with the same key was first."""

    ok: bool
    state: State
    existing: UUID | None = None
    missing: bool = False  # a deletion found nothing
    seq: int | None = None


_LOCK = """
    SELECT limit_bytes, used, reserved, files, seq, head_hash FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE
"""

# Read after the lock: a snapshot taken while waiting for it would be old.
_KNOWN = """
    SELECT 'held' AS kind, id, size, NULL::text AS key, NULL::jsonb AS file FROM reservation WHERE id = ANY($1::uuid[])
    UNION ALL
    SELECT 'file', id, size, idempotency_key, CASE WHEN id = ANY($2::uuid[]) THEN to_jsonb(f) END
    FROM stored_file AS f WHERE id = ANY($1::uuid[]) OR id = ANY($2::uuid[]) OR idempotency_key = ANY($3::text[])
"""

_EXPIRED = "SELECT id, size FROM reservation WHERE expires_at < now() AND NOT id = ANY($1::uuid[])"

_ACCOUNT = """
    WITH held AS (
        INSERT INTO reservation AS r (id, tenant_id, size, expires_at)
        SELECT h.id, $1, h.size, h.expires_at
        FROM unnest($2::uuid[], $3::bigint[], $4::timestamptz[]) AS h(id, size, expires_at)
        ON CONFLICT (id) DO UPDATE SET size = excluded.size, expires_at = excluded.expires_at
    ), gone AS (
        DELETE FROM reservation WHERE id = ANY($5::uuid[])
    )
    UPDATE tenant_storage SET used = $6, reserved = $7, files = $8, seq = $9, head_hash = $10 WHERE tenant_id = $1
"""

_STORE = """
    INSERT INTO stored_file (id, tenant_id, path, name, size, content_type, file_type, category, subcategory, entity_id,
        project_id, sha256, uploaded_by, created_at, metadata, idempotency_key)
    SELECT f.file_id, f.tenant_id, f.path, f.name, f.size, f.content_type, f.file_type, f.category, f.subcategory,
        f.entity_id, f.project_id, f.sha256, f.uploaded_by, f.stored_at, f.metadata, f.idempotency_key
    FROM jsonb_to_recordset($1::jsonb) AS f(file_id uuid, tenant_id uuid, path text, name text, size bigint,
        content_type text, file_type text, category text, subcategory text, entity_id text, project_id uuid,
        sha256 text, uploaded_by uuid, stored_at timestamptz, metadata jsonb, idempotency_key text)
"""

_REMOVE = """
    WITH gone AS (DELETE FROM stored_file WHERE id = ANY($1::uuid[]) RETURNING tenant_id, path, size)
    INSERT INTO blob_garbage (tenant_id, path, size) SELECT * FROM gone
"""

_LEDGER = """
    INSERT INTO storage_transaction (tenant_id, seq, id, action, type, file_id, file_path, file_name, file_size, delta,
        content_type, file_type, category, uploaded_by, metadata, occurred_at, body, traceparent, prev_hash, hash)
    SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::text[],
        $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::uuid[], $15::jsonb[],
        $16::timestamptz[], $17::text[], $18::text[], $19::bytea[], $20::bytea[])
"""


async def commit_batch(connection: Any, tenant: UUID, changes: Sequence[Change]) -> list[Result]:
    """Everything of one batch inside the caller's transaction. Raises TenantUnknown."""
    row = await connection.fetchrow(_LOCK, tenant)
    if row is None:
        raise TenantUnknown(tenant)
    state = State(row["limit_bytes"], row["used"], row["reserved"], row["files"])
    head = Head(row["seq"], row["head_hash"])
    known = await _known(connection, changes)
    live = [change for change in changes if id(change) not in known.answers]
    commands = [change.command for change in live]
    outcomes, held = apply_all(state, known.held, commands)
    expired: list[UUID] = []
    if not all(outcome.ok for outcome in outcomes):
        # Nothing is refused for the sake of an upload that died.
        rows = await connection.fetch(_EXPIRED, [command.id for command in commands])
        expired = [r["id"] for r in rows]
        state = State(state.limit, state.used, state.reserved - sum(r["size"] for r in rows), state.files)
        outcomes, held = apply_all(state, known.held, commands)
    done = [change for change, outcome in zip(live, outcomes, strict=True) if outcome.ok]
    entries = _entries(head, done)
    final = outcomes[-1].state if outcomes else state
    await _write_files(connection, tenant, done, entries)
    if done or expired:
        await _write_account(connection, tenant, done, held, expired, final, entries[-1].head if entries else head)
    seqs = {entry.file_id: entry.seq for entry in entries}
    decided = {
        id(change): Result(outcome.ok, outcome.state, seq=seqs.get(change.command.id))
        for change, outcome in zip(live, outcomes, strict=True)
    }
    return [decided.get(id(change)) or _answer(known.answers[id(change)], change, final) for change in changes]


def _answer(existing: UUID | None, change: Change, state: State) -> Result:
    if isinstance(change.command, Delete):
        return Result(False, state, missing=True)
    return Result(True, state, existing=existing)


@dataclass(slots=True)
class _Known:
    """What the database already holds of the batch: a batch may be here for the second time.

    `answers`: changes that need no more work, with the file that took their idempotency key, if one did.
    """

    held: dict[UUID, int] = field(default_factory=dict)
    answers: dict[int, UUID | None] = field(default_factory=dict)


async def _known(connection: Any, changes: Sequence[Change]) -> _Known:
    ids = [change.command.id for change in changes if not isinstance(change.command, Delete)]
    deleted = [change.command.id for change in changes if isinstance(change.command, Delete)]
    keys = [change.idempotency_key for change in changes if change.idempotency_key is not None]
    known, stored, keyed = _Known(), {}, {}
    for row in await connection.fetch(_KNOWN, ids, deleted, keys):
        if row["kind"] == "held":
            known.held[row["id"]] = row["size"]
            continue
        stored[row["id"]] = row["file"]
        if row["key"] is not None:
            keyed[row["key"]] = row["id"]
    for change in changes:
        _recognise(known, change, stored, keyed)
    return known


def _recognise(known: _Known, change: Change, stored: dict[UUID, Any], keyed: dict[str, UUID]) -> None:
    """Also within the batch: of two deletions of a file, or two uploads with one key, the first counts."""
    command, key = change.command, change.idempotency_key
    if isinstance(command, Delete):
        file = stored.pop(command.id, None)
        if file is None:
            known.answers[id(change)] = None
        else:
            change.file = FileStored(**{**file, "file_id": file["id"], "stored_at": file["created_at"]})
            change.command = Delete(command.id, change.file.size)
    elif isinstance(command, Settle | Reserve) and command.id in stored:
        known.answers[id(change)] = None
    elif isinstance(command, Settle) and key is not None:
        if key in keyed:
            known.answers[id(change)] = keyed[key]
        keyed.setdefault(key, command.id)


def _entries(head: Head, done: Sequence[Change]) -> list[Entry]:
    entries = []
    for change in done:
        if change.file is not None:
            entry = _entry(head, change, change.file)
            entries.append(entry)
            head = entry.head
    return entries


def _entry(head: Head, change: Change, file: FileStored) -> Entry:
    if isinstance(change.command, Delete):
        now = datetime.now(UTC)
        event = FileDeleted(**file.model_dump(), deleted_at=now, deleted_by=change.by)
        return Entry.following(head, "delete", event, -file.size, now, {}, change.traceparent, by=change.by)
    return Entry.following(head, "upload", file, file.size, file.stored_at, change.metadata, change.traceparent)


async def _write_files(connection: Any, tenant: UUID, done: Sequence[Change], entries: Sequence[Entry]) -> None:
    stored = [change for change in done if isinstance(change.command, Settle)]
    removed = [change.command.id for change in done if isinstance(change.command, Delete)]
    if stored:
        await connection.execute(_STORE, [_file_row(change) for change in stored])
    if removed:
        await connection.execute(_REMOVE, removed)
    if entries:
        await connection.execute(_LEDGER, tenant, *Entry.columns(entries))


async def _write_account(
    connection: Any,
    tenant: UUID,
    done: Sequence[Change],
    held: Mapping[UUID, int],
    expired: Sequence[UUID],
    final: State,
    head: Head,
) -> None:
    """Each reservation once, as the last change of the batch left it."""
    now = datetime.now(UTC)
    touched = {c.command.id: now + c.lifetime for c in done if not isinstance(c.command, Delete)}
    live = [reservation for reservation in touched if reservation in held]
    await connection.execute(
        _ACCOUNT,
        tenant,
        live,
        [held[reservation] for reservation in live],
        [touched[reservation] for reservation in live],
        [*(reservation for reservation in touched if reservation not in held), *expired],
        final.used,
        final.reserved,
        final.files,
        head.seq,
        head.hash,
    )


def _file_row(change: Change) -> dict[str, Any]:
    assert change.file is not None  # noqa: S101 - a settlement brings its file
    row = change.file.model_dump(mode="json")
    return {**row, "metadata": change.metadata, "idempotency_key": change.idempotency_key}
