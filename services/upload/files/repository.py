"""All reading of files. Runs inside the caller's transaction, which sees one tenant."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.files.models import StoredFile

_SELECT = "SELECT to_jsonb(f) AS file FROM stored_file AS f"
_PAGE = f"""
    {_SELECT}
    WHERE version_of IS NULL AND trashed_at IS NULL AND state = 'ready'
      AND ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2)) AND ($3::text IS NULL OR category = $3)
    ORDER BY created_at DESC, id DESC LIMIT $4
"""

_PLACE = f"""
    {_SELECT}
    WHERE version_of IS NULL AND trashed_at IS NULL AND category = $1 AND folder = $2 AND name = $3
    ORDER BY created_at DESC, id DESC LIMIT 1
"""


async def find(connection: Any, file_id: UUID) -> StoredFile | None:
    return _file(await connection.fetchval(f"{_SELECT} WHERE id = $1", file_id))


async def find_by_path(connection: Any, path: str) -> StoredFile | None:
    return _file(await connection.fetchval(f"{_SELECT} WHERE path = $1", path))


async def find_by_key(connection: Any, key: str) -> StoredFile | None:
    return _file(await connection.fetchval(f"{_SELECT} WHERE idempotency_key = $1", key))


async def find_by_place(connection: Any, category: str, folder: str, name: str) -> StoredFile | None:
    """The newest, where several have one name."""
    return _file(await connection.fetchval(_PLACE, category, folder, name))


async def list_newest(
    connection: Any, limit: int, after: tuple[datetime, UUID] | None, category: str | None
) -> Sequence[StoredFile]:
    """Newest first, past the (created_at, id) given."""
    at, file_id = after or (None, None)
    rows = await connection.fetch(_PAGE, at, file_id, category, limit)
    return [StoredFile.read(row["file"]) for row in rows]


def _file(row: dict[str, Any] | None) -> StoredFile | None:
    return None if row is None else StoredFile.read(row)
