"""Finding files. Runs inside the caller's transaction, which sees one tenant."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.upload.files.models import StoredFile

_SELECT = "SELECT to_jsonb(f) AS file FROM stored_file AS f"
_PATHS = "SELECT path, id FROM stored_file WHERE path = ANY($1::text[]) AND version_of IS NULL"
_OWNED = "SELECT 1 FROM stored_file WHERE location = $1 AND path = $2"
_ASIDE = """
    SELECT (SELECT coalesce(sum(size), 0)::bigint FROM stored_file WHERE trashed_at IS NOT NULL) AS trashed,
        (SELECT coalesce(sum(size), 0)::bigint FROM stored_file WHERE version_of IS NOT NULL) AS versions
"""

_PLACE = f"""
    {_SELECT}
    WHERE version_of IS NULL AND trashed_at IS NULL AND category = $1 AND folder = $2 AND name = $3
    ORDER BY created_at DESC, id DESC LIMIT 1
"""


async def find(connection: Any, file_id: UUID) -> StoredFile | None:
    return _file(await connection.fetchval(f"{_SELECT} WHERE id = $1 AND version_of IS NULL", file_id))


async def find_by_key(connection: Any, key: str) -> StoredFile | None:
    return _file(await connection.fetchval(f"{_SELECT} WHERE idempotency_key = $1", key))


async def find_by_place(connection: Any, category: str, folder: str, name: str) -> StoredFile | None:
    """The newest, where several have one name."""
    return _file(await connection.fetchval(_PLACE, category, folder, name))


async def find_version(connection: Any, file_id: UUID, version: UUID) -> StoredFile | None:
    return _file(await connection.fetchval(f"{_SELECT} WHERE id = $1 AND version_of = $2", version, file_id))


async def list_versions(connection: Any, file_id: UUID) -> list[StoredFile]:
    """Newest first."""
    rows = await connection.fetch(f"{_SELECT} WHERE version_of = $1 ORDER BY updated_at DESC, id DESC", file_id)
    return [StoredFile.read(row["file"]) for row in rows]


async def ids_by_path(connection: Any, paths: Sequence[str]) -> dict[str, UUID]:
    return {row["path"]: row["id"] for row in await connection.fetch(_PATHS, list(paths))}


async def is_owned(connection: Any, location: str, path: str) -> bool:
    """Whether the blob there is a file's, or an older version's."""
    return await connection.fetchval(_OWNED, location, path) is not None


async def sum_aside(connection: Any) -> tuple[int, int]:
    """Bytes in the trash, and bytes of older versions."""
    row = await connection.fetchrow(_ASIDE)
    return row["trashed"], row["versions"]


def _file(row: dict[str, Any] | None) -> StoredFile | None:
    return None if row is None else StoredFile.read(row)
