"""All SQL on images, inside the caller's transaction. What is hidden, in the trash or an old version is not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.upload.files import pages
from services.upload.files.models import StoredFile
from services.upload.images.analysis.facts import Facts
from services.upload.images.models import Image

Position = tuple[datetime, UUID]  # of the last image seen

_SHOWN = "file_type = 'image' AND state = 'ready' AND version_of IS NULL AND trashed_at IS NULL"
# What was found of other bytes than the file has now is not true of it any more.
_IMAGE = "LEFT JOIN image AS i ON i.file_id = f.id AND i.sha256 = f.sha256"
_COLUMNS = "to_jsonb(f) AS file, to_jsonb(i) - 'embedding' AS image"
_FIND = f"SELECT {_COLUMNS} FROM (SELECT * FROM stored_file WHERE id = $1 AND {_SHOWN}) AS f {_IMAGE}"
_WALK = f"SELECT * FROM stored_file WHERE {_SHOWN} AND (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC"
_NEWEST = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)  # before all others

# A tenant's images are compared one by one, which is exact: see docs/decisions/0011-images.md for how long it takes.
_SIMILAR = """
    WITH asked AS (
        SELECT file_id, embedding, model, phash FROM image WHERE file_id = $1
    ), near AS (
        SELECT i.file_id, i.embedding <=> a.embedding AS distance, bit_count((i.phash # a.phash)::bit(64)) AS bits
        FROM asked AS a JOIN image AS i ON i.model = a.model AND i.file_id <> a.file_id
        JOIN stored_file AS f ON f.id = i.file_id AND f.sha256 = i.sha256
        WHERE i.tenant_id = $2 AND i.embedding IS NOT NULL
          AND f.state = 'ready' AND f.version_of IS NULL AND f.trashed_at IS NULL
        ORDER BY distance, i.file_id LIMIT $4
    )
    SELECT to_jsonb(f) AS file, to_jsonb(i) - 'embedding' AS image, n.distance, n.bits
    FROM near AS n JOIN stored_file AS f ON f.id = n.file_id JOIN image AS i ON i.file_id = n.file_id
    WHERE n.distance <= $3 ORDER BY n.distance, n.file_id
"""

# Nothing is written for a file that has other bytes by now, or is gone.
_UPSERT = """
    INSERT INTO image AS i (file_id, tenant_id, sha256, width, height, orientation, format, has_location, phash, model,
        embedding, analysis, error)
    SELECT f.id, f.tenant_id, f.sha256, $3, $4, $5, $6, $7, $8, $9, $10::text::vector, $11::jsonb, $12
    FROM stored_file AS f WHERE f.id = $1 AND f.sha256 = $2 FOR KEY SHARE
    ON CONFLICT (file_id) DO UPDATE SET sha256 = excluded.sha256, width = excluded.width, height = excluded.height,
        orientation = excluded.orientation, format = excluded.format, has_location = excluded.has_location,
        phash = excluded.phash, model = excluded.model, embedding = excluded.embedding, analysis = excluded.analysis,
        error = excluded.error, analysed_at = now()
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """`image` None: it was not looked at yet."""

    file: StoredFile
    image: Image | None


@dataclass(frozen=True, slots=True)
class Near:
    """`distance` of the embeddings is 0..2, `bits` of the hashes 0..64."""

    seen: Seen
    distance: float
    bits: int


@dataclass(frozen=True, slots=True)
class Listed:
    """One page. `after` is where the next one begins, None at the end; a page may be short of its limit before that."""

    images: list[Seen]
    after: Position | None


async def find(connection: Any, file_id: UUID) -> Seen | None:
    row = await connection.fetchrow(_FIND, file_id)
    return None if row is None else _seen(row)


async def list_newest(connection: Any, limit: int, after: Position | None, kind: str | None) -> Listed:
    """Never more work than `pages.SCAN` rows: where few are of that kind, a page is short and goes on."""
    start = after or _NEWEST
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM ({_WALK} LIMIT {pages.SCAN}) AS f {_IMAGE} "
        "WHERE $3::text IS NULL OR f.metadata->>'kind' = $3 ORDER BY f.created_at DESC, f.id DESC LIMIT $4",
        *start,
        kind,
        limit + 1,
    )
    images = [_seen(row) for row in rows[:limit]]
    if len(rows) > limit:
        return Listed(images, (images[-1].file.created_at, images[-1].file.id))
    last = await connection.fetchrow(f"{_WALK} OFFSET {pages.SCAN - 1} LIMIT 1", *start)
    return Listed(images, None if last is None else (last["created_at"], last["id"]))


async def list_similar(connection: Any, tenant: UUID, file_id: UUID, distance: float, limit: int) -> Sequence[Near]:
    rows = await connection.fetch(_SIMILAR, file_id, tenant, distance, limit)
    return [Near(_seen(row), row["distance"], row["bits"]) for row in rows]


async def upsert_facts(connection: Any, file: StoredFile, facts: Facts, model: str) -> None:
    vector = "[" + ",".join(f"{value:.7g}" for value in facts.embedding.tolist()) + "]"
    values = (facts.width, facts.height, facts.orientation, facts.format, facts.has_location, facts.phash)
    await connection.execute(_UPSERT, file.id, file.sha256, *values, model, vector, facts.details, None)


async def upsert_error(connection: Any, file: StoredFile, error: str) -> None:
    await connection.execute(_UPSERT, file.id, file.sha256, *[None] * 8, {}, error)


def _seen(row: Any) -> Seen:
    image = None if row["image"] is None else Image.model_validate(row["image"])
    return Seen(StoredFile.read(row["file"]), image)
