"""Bytes that nobody needs any more, removed from the stores."""

import asyncio
import logging
from typing import Any

from prometheus_client import Counter

from services.upload.blobs.locations import Locations
from shared.db import Database
from shared.errors import DomainError

log = logging.getLogger(__name__)

REMOVED = Counter("stowage_upload_blobs_removed_total", "Blobs removed from the store", ["reason"])

BATCH = 100  # blobs removed at once, in one transaction
BATCHES = 10  # of one run

# A blob may have been garbage and come back: a move there and home again ends where it began. The rows stay locked
# while the bytes go, so that nobody puts a file there who has taken the note away (see relocation).
_DUE = """
    SELECT g.location, g.path, g.size, f.id IS NOT NULL AS wanted FROM blob_garbage AS g
    LEFT JOIN stored_file AS f ON f.tenant_id = g.tenant_id AND f.location = g.location AND f.path = g.path
    WHERE g.at <= now() ORDER BY g.at LIMIT $1 FOR UPDATE OF g SKIP LOCKED
"""
_FORGET = """
    DELETE FROM blob_garbage AS g USING unnest($1::text[], $2::text[]) AS t(location, path)
    WHERE g.location = t.location AND g.path = t.path
"""
# A store that is away must not keep the others waiting.
_LATER = """
    UPDATE blob_garbage AS g SET at = now() + interval '1 minute'
    FROM unnest($1::text[], $2::text[]) AS t(location, path)
    WHERE g.location = t.location AND g.path = t.path
"""


class Garbage:
    def __init__(self, database: Database, locations: Locations) -> None:
        self._database = database
        self._locations = locations

    async def run(self) -> dict[str, int] | None:
        """The store first, then the note, so that a crash repeats and forgets nothing."""
        objects = size = 0
        for _ in range(BATCHES):
            due, removed = await self._remove_batch()
            objects, size = objects + len(removed), size + sum(removed)
            if due < BATCH:
                break
        REMOVED.labels("deleted").inc(objects)
        return {"objects": objects, "bytes": size} if objects else None

    async def _remove_batch(self) -> tuple[int, list[int]]:
        """How many were due, and the sizes of those that were removed."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_DUE, BATCH)
            unwanted = [row for row in rows if not row["wanted"]]
            removed = await asyncio.gather(*(self._remove(row) for row in unwanted))
            kept = [row for row, ok in zip(unwanted, removed, strict=True) if not ok]
            gone = [row for row in rows if row not in kept]
            for statement, some in ((_FORGET, gone), (_LATER, kept)):
                if some:
                    places = [row["location"] for row in some], [row["path"] for row in some]
                    await connection.execute(statement, *places)
        return len(rows), [row["size"] for row, ok in zip(unwanted, removed, strict=True) if ok]

    async def _remove(self, row: Any) -> bool:
        try:
            await self._locations[row["location"]].delete(row["path"])
        except (DomainError, OSError) as error:
            log.warning("%s stays in %s for now: %s", row["path"], row["location"], error)
            return False
        return True
