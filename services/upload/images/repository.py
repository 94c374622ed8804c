"""All SQL on images, inside the caller's transaction. What is hidden, in the trash or an old version is not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.files.models import StoredFile
from services.upload.images.analysis.facts import Facts
from services.upload.images.models import Image

# What was found of other bytes than the file has now is not true of it any more.
_SEEN = """
    stored_file AS f LEFT JOIN image AS i ON i.file_id = f.id AND i.sha256 = f.sha256
    WHERE f.file_type = 'image' AND f.state = 'ready' AND f.version_of IS NULL AND f.trashed_at IS NULL
"""
_COLUMNS = "to_jsonb(f) AS file, to_jsonb(i) - 'embedding' AS image"
_FIND = f"SELECT {_COLUMNS} FROM {_SEEN} AND f.id = $1"
_PAGE = f"""
    SELECT {_COLUMNS} FROM {_SEEN}
      AND ($1::timestamptz IS NULL OR (f.created_at, f.id) < ($1, $2))
      AND ($3::text IS NULL OR f.metadata->>'kind' = $3)
    ORDER BY f.created_at DESC, f.id DESC LIMIT $4
"""

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


async def find(connection: Any, file_id: UUID) -> Seen | None:
    row = await connection.fetchrow(_FIND, file_id)
    return None if row is None else _seen(row)


async def list_newest(
    connection: Any, limit: int, after: tuple[datetime, UUID] | None, kind: str | None
) -> Sequence[Seen]:
    at, file_id = after or (None, None)
    return [_seen(row) for row in await connection.fetch(_PAGE, at, file_id, kind, limit)]


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
