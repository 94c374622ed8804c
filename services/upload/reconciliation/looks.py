"""SQL that looks at a tenant. Runs inside the caller's transaction.

A look is one statement, so it is one moment: a file, its entry and the account change in one commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from services.upload.ledger.fold import FOLD
from services.upload.reconciliation.rules import Amount, Kind, Look, Objects, Sums, minus, plus
from services.upload.reconciliation.rules import unlisted as read

_END = 2**62  # of any ledger

_LOOK = f"""
    WITH kept AS MATERIALIZED (
        SELECT file_type, category, sum(size)::bigint AS bytes, count(*) AS files,
            sum(size) FILTER (WHERE trashed_at IS NOT NULL) AS trash,
            sum(size) FILTER (WHERE version_of IS NOT NULL) AS versions
        FROM stored_file WHERE tenant_id = $1 GROUP BY 1, 2
    ), gone AS MATERIALIZED (
        SELECT f.file_type, f.category, f.path, f.size FROM storage_finding AS g
        JOIN stored_file AS f ON f.location = g.location AND f.path = g.path
        WHERE g.tenant_id = $1 AND f.tenant_id = $1 AND g.ended_at IS NULL AND g.kind IN ('missing', 'damaged')
    )
    SELECT t.seq AS position, t.used, t.files, t.reserved,
        EXISTS (SELECT FROM erasure WHERE tenant_id = $1 AND status = 'done') AS erased,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(file_type, category, bytes, files)), '[]')
         FROM ({FOLD}) AS entries) AS entries,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(file_type, category, bytes, files)), '[]') FROM kept) AS rows,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(file_type, category, bytes, files)), '[]')
         FROM (SELECT file_type, category, sum(size)::bigint AS bytes, count(*) AS files FROM gone GROUP BY 1, 2) AS g
        ) AS gone,
        (SELECT coalesce(jsonb_agg(path), '[]') FROM (SELECT path FROM gone ORDER BY path LIMIT 100) AS g) AS missing,
        (SELECT coalesce(sum(size), 0)::bigint FROM reservation WHERE tenant_id = $1) AS held,
        (SELECT coalesce(sum(trash), 0)::bigint FROM kept) AS trash,
        (SELECT coalesce(sum(versions), 0)::bigint FROM kept) AS versions,
        (SELECT coalesce(sum(upload_offset), 0)::bigint FROM resumable_upload
         WHERE tenant_id = $1 AND (NOT finished OR concat = 'partial')) AS resumable,
        (SELECT coalesce(sum(coalesce(size, written)), 0)::bigint FROM export
         WHERE tenant_id = $1 AND status <> 'expired') AS exports,
        (SELECT coalesce(sum(bytes), 0)::bigint FROM thumbnail WHERE tenant_id = $1) AS thumbnails,
        (SELECT coalesce(sum(size), 0)::bigint FROM blob_garbage WHERE tenant_id = $1) AS deleted,
        (SELECT coalesce(sum(size), 0)::bigint FROM storage_finding
         WHERE tenant_id = $1 AND kind = 'orphan' AND ended_at IS NULL) AS orphans,
        (SELECT coalesce(jsonb_object_agg(month, coalesce(used, 0) - coalesce(taken, 0)), '{{}}') FROM (
            SELECT image_month AS month, count(*) AS taken FROM storage_transaction
            WHERE tenant_id = $1 AND image_month IS NOT NULL GROUP BY 1) AS entries
         FULL JOIN (SELECT month, used FROM image_month WHERE tenant_id = $1) AS counted USING (month)
         WHERE coalesce(used, 0) <> coalesce(taken, 0) AND t.deleted_at IS NULL) AS images
    FROM tenant_storage AS t WHERE t.tenant_id = $1
"""
_ROWS = "SELECT location, path, size, file_type, category FROM stored_file WHERE tenant_id = $1"
# The body is what was hashed; the columns are taken from it for whoever looks for something.
_ALTERED = """
    SELECT count(*) AS entries, min(seq) AS first FROM storage_transaction AS t, LATERAL (SELECT body::jsonb AS b) AS j
    WHERE tenant_id = $1 AND seq <= $2 AND (
        (file_type, category) IS DISTINCT FROM (b ->> 'file_type', b ->> 'category')
        OR file_size IS DISTINCT FROM coalesce((b ->> 'size')::bigint, 0)
        OR delta IS DISTINCT FROM CASE type
            WHEN 'file.stored' THEN (b ->> 'size')::bigint
            WHEN 'file.replaced' THEN (b ->> 'size')::bigint - (b -> 'previous' ->> 'size')::bigint
            WHEN 'file.deleted' THEN -(b ->> 'size')::bigint
            WHEN 'storage.adjusted' THEN (b ->> 'delta_bytes')::bigint
            ELSE 0 END
        OR delta_files IS DISTINCT FROM (b ->> 'delta_files')::bigint
        OR (owner, project_id) IS DISTINCT FROM ((b ->> 'uploaded_by')::uuid, (b ->> 'project_id')::uuid)
        OR (previous_owner, previous_project_id) IS DISTINCT FROM
            ((b -> 'previous' ->> 'uploaded_by')::uuid, (b -> 'previous' ->> 'project_id')::uuid)
        OR (is_version, was_trashed) IS DISTINCT FROM
            (b ->> 'version_of' IS NOT NULL, coalesce((b ->> 'trashed')::boolean, false))
        OR image_month IS DISTINCT FROM (b ->> 'image_month')::date
        OR (previous_size, previous_file_type, previous_category) IS DISTINCT FROM
            ((b -> 'previous' ->> 'size')::bigint, b -> 'previous' ->> 'file_type', b -> 'previous' ->> 'category')
        OR action <> CASE type WHEN 'file.stored' THEN 'upload' WHEN 'file.replaced' THEN 'replace'
            WHEN 'file.moved' THEN 'move' WHEN 'file.trashed' THEN 'trash' WHEN 'file.restored' THEN 'restore'
            WHEN 'file.deleted' THEN 'delete' WHEN 'storage.adjusted' THEN 'adjust' ELSE '' END
    )
"""
# The last that the ledger knows of an object: the file has it still, and no other bytes since.
_LOST = """
    SELECT file_type, category, sum(file_size)::bigint AS bytes, count(*) AS files FROM (
        SELECT DISTINCT ON (file_path) file_type, category, file_size, action, file_id, seq FROM storage_transaction
        WHERE tenant_id = $1 AND file_path = ANY($2::text[]) ORDER BY file_path, seq DESC
    ) AS t
    WHERE action <> 'delete' AND NOT EXISTS (
        SELECT FROM storage_transaction AS later
        WHERE later.tenant_id = $1 AND later.file_id = t.file_id AND later.seq > t.seq
    ) GROUP BY 1, 2
"""
_UPLOADS = """
    SELECT id FROM reservation WHERE tenant_id = $1 AND id = ANY($2::uuid[])
    UNION SELECT id FROM resumable_upload WHERE tenant_id = $1 AND id = ANY($2::uuid[])
    UNION SELECT id FROM direct_upload WHERE tenant_id = $1 AND id = ANY($2::uuid[])
    UNION SELECT upload_id FROM export WHERE tenant_id = $1 AND upload_id = ANY($2::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The fold of the entries 1 … `position`."""

    position: int = 0
    kinds: Sums = field(default_factory=dict)


START = Checkpoint()


@dataclass(frozen=True, slots=True)
class Seen:
    """`hidden`: bytes, by what they are. `noted`: the objects as far as the findings tell. `erased`: and certified."""

    look: Look
    hidden: dict[str, int]
    noted: Objects
    erased: bool


@dataclass(frozen=True, slots=True)
class Lying:
    """Where a file's bytes should be."""

    location: str
    path: str
    size: int
    kind: Kind


async def look(connection: Any, tenant: UUID, since: Checkpoint) -> Seen | None:
    """None where the tenant has no account. Of the ledger only what follows the checkpoint is read."""
    row = await connection.fetchrow(_LOOK, tenant, since.position, _END)
    if row is None:
        return None
    files = read(row["rows"])
    found = Look(
        position=row["position"],
        ledger=plus(since.kinds, read(row["entries"])),
        files=files,
        account=Amount(row["used"], row["files"]),
        reserved=row["reserved"],
        held=row["held"],
        images={date.fromisoformat(month): apart for month, apart in row["images"].items()},
    )
    names = ("trash", "versions", "resumable", "exports", "thumbnails", "deleted", "orphans")
    hidden = {"reserved": row["held"], **{name: row[name] for name in names}}
    noted = Objects(minus(files, read(row["gone"])), row["missing"], row["orphans"])
    return Seen(found, hidden, noted, row["erased"])


async def list_rows(connection: Any, tenant: UUID) -> list[Lying]:
    rows = await connection.fetch(_ROWS, tenant)
    return [Lying(row["location"], row["path"], row["size"], (row["file_type"], row["category"])) for row in rows]


async def count_altered(connection: Any, tenant: UUID, position: int) -> tuple[int, int | None]:
    """Entries whose columns are not what their body says, and the first of them."""
    row = await connection.fetchrow(_ALTERED, tenant, position)
    return row["entries"], row["first"]


async def sum_lost(connection: Any, tenant: UUID, paths: Sequence[str]) -> dict[Kind, Amount]:
    """Of objects without a row those whose file the ledger still has."""
    rows = await connection.fetch(_LOST, tenant, list(paths))
    return {(row["file_type"], row["category"]): Amount(row["bytes"], row["files"]) for row in rows}


async def list_uploads(connection: Any, tenant: UUID, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these are the tenant's and under way."""
    return {row["id"] for row in await connection.fetch(_UPLOADS, tenant, list(ids))}
