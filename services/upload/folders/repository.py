"""Folders are what files say of themselves: names with slashes between them, and no rows of their own."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

_BELOW = """version_of IS NULL AND trashed_at IS NULL AND folder COLLATE "C" >= $1 AND folder COLLATE "C" < $2"""
# '0' follows '/': between `a/` and `a0` lies everything below `a`.
_NAMES = """
    SELECT name, count(*) AS files, sum(size)::bigint AS bytes FROM (
        SELECT split_part(substr(folder, $3 + 1), '/', 1) COLLATE "C" AS name, size FROM stored_file
        WHERE version_of IS NULL AND trashed_at IS NULL AND folder <> '' AND folder COLLATE "C" >= $1
            AND ($2::text IS NULL OR folder COLLATE "C" < $2)
    ) AS f WHERE name > $4 GROUP BY 1 ORDER BY 1 LIMIT $5
"""
_FILES = f"""
    SELECT id, folder FROM stored_file
    WHERE ({_BELOW}) OR (version_of IS NULL AND trashed_at IS NULL AND folder COLLATE "C" = $3) LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class Folder:
    """`files` and `bytes` of all below it."""

    name: str
    files: int
    bytes: int


async def list_names(connection: Any, parent: str, after: str, limit: int) -> list[Folder]:
    """The folders right below `parent` ("" for the top) whose names follow `after`."""
    low, high = (f"{parent}/", f"{parent}0") if parent else ("", None)
    rows = await connection.fetch(_NAMES, low, high, len(low), after, limit)
    return [Folder(row["name"], row["files"], row["bytes"]) for row in rows]


async def list_files(connection: Any, folder: str, limit: int) -> list[tuple[UUID, str]]:
    """Files in the folder and everywhere below it, with the folder each is in."""
    rows = await connection.fetch(_FILES, f"{folder}/", f"{folder}0", folder, limit)
    return [(row["id"], row["folder"]) for row in rows]
