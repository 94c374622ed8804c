"""Folders are what files say of themselves: names with slashes between them, and no rows of their own."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

COUNTED = 100  # files of a folder that a list counts unasked

_SHOWN = "version_of IS NULL AND trashed_at IS NULL"
# '0' follows '/': between `a/` and `a0` lies everything below `a`.
_BELOW = f"""{_SHOWN} AND folder COLLATE "C" >= $1 AND folder COLLATE "C" < $2"""
# Of a customer with few folders the planner expects that reading everything is quickest, and with many files it is not.
_BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
_END = "\U0010ffff" * 257  # behind every folder
# $1: the parent's name with a slash, or nothing; $2: behind all that is below it; $3: the name before the page;
# $4: names on it; $5: files of each to look at, null for all.
# A name is found by skipping what is below the one before, so that a page costs what it shows. In the index `a b` lies
# between `a` and `a/x`: what is below a name's own beginnings lies behind it, and is skipped, too (`ranges`); and the
# first folder found may hide a name that is the beginning of its own (`hidden`).
_NAMES = f"""
    WITH RECURSIVE page (name, number) AS (
        SELECT $3::text, 0
        UNION ALL
        SELECT coalesce(hidden.name, next.name), page.number + 1
        FROM page CROSS JOIN LATERAL (
            SELECT split_part(substr(first.folder, length($1::text) + 1), '/', 1) AS name
            FROM (
                SELECT length(page.name) + 1 AS i, concat($1::text, page.name, E'\\x01') AS low,
                    concat($1::text, page.name, '/') AS high
                UNION ALL
                SELECT i, concat($1::text, left(page.name, i), '0'),
                    lead(concat($1::text, left(page.name, i), '/'), 1, $2::text) OVER (ORDER BY i DESC)
                FROM generate_series(0, length(page.name)) AS i
                WHERE i = length(page.name) OR substr(page.name, i + 1, 1) COLLATE "C" < '/'
            ) AS ranges CROSS JOIN LATERAL (
                SELECT folder FROM stored_file
                WHERE {_SHOWN} AND folder COLLATE "C" >= ranges.low AND folder COLLATE "C" < ranges.high
                ORDER BY folder COLLATE "C" LIMIT 1
            ) AS first
            ORDER BY ranges.i DESC LIMIT 1
        ) AS next LEFT JOIN LATERAL (
            SELECT left(next.name, i) AS name FROM generate_series(1, length(next.name) - 1) AS i
            WHERE substr(next.name, i + 1, 1) COLLATE "C" < '/' AND left(next.name, i) COLLATE "C" > page.name
                AND EXISTS (
                    SELECT FROM stored_file WHERE {_SHOWN}
                        AND folder COLLATE "C" >= concat($1::text, left(next.name, i), '/')
                        AND folder COLLATE "C" < concat($1::text, left(next.name, i), '0')
                )
            ORDER BY i LIMIT 1
        ) AS hidden ON true
        WHERE page.number < $4
    )
    SELECT page.name, counted.files, counted.bytes FROM page CROSS JOIN LATERAL (
        SELECT count(*) AS files, sum(size)::bigint AS bytes FROM (
            (
                SELECT size FROM stored_file WHERE {_SHOWN} AND folder COLLATE "C" = concat($1::text, page.name)
                LIMIT $5
            )
            UNION ALL
            (
                SELECT size FROM stored_file WHERE {_SHOWN}
                    AND folder COLLATE "C" >= concat($1::text, page.name, '/')
                    AND folder COLLATE "C" < concat($1::text, page.name, '0')
                LIMIT $5
            )
            LIMIT $5
        ) AS below
    ) AS counted WHERE page.number > 0 ORDER BY page.number
"""
_FILES = f"""
    SELECT id, folder FROM stored_file
    WHERE ({_BELOW}) OR ({_SHOWN} AND folder COLLATE "C" = $3) LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class Folder:
    """`files` and `bytes` of all in it and below it; None where that was not looked at to the end."""

    name: str
    files: int | None
    bytes: int | None


async def list_names(connection: Any, parent: str, after: str, limit: int, *, sums: bool) -> list[Folder]:
    """The folders right below `parent` ("" for the top) whose names follow `after`. Without `sums` no more than COUNTED
    files of each are counted.
    """
    low, high = (f"{parent}/", f"{parent}0") if parent else ("", _END)
    await connection.execute(_BY_INDEX)
    rows = await connection.fetch(_NAMES, low, high, after, limit, None if sums else COUNTED + 1)
    return [
        Folder(row["name"], row["files"], row["bytes"])
        if sums or row["files"] <= COUNTED
        else Folder(row["name"], files=None, bytes=None)
        for row in rows
    ]


async def list_files(connection: Any, folder: str, limit: int) -> list[tuple[UUID, str]]:
    """Files in the folder and everywhere below it, with the folder each is in."""
    rows = await connection.fetch(_FILES, f"{folder}/", f"{folder}0", folder, limit)
    return [(row["id"], row["folder"]) for row in rows]
