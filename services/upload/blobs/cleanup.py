"""What deletions and crashes leave in the stores, removed afterwards. Every step may run twice or die halfway."""

import logging
import time
from collections.abc import Sequence
from uuid import UUID

from prometheus_client import Counter

from services.upload.blobs.locations import Locations
from services.upload.blobs.store import Found, Leftover, upload_of
from shared.db import Database

log = logging.getLogger(__name__)

REMOVED = Counter("stowage_upload_blobs_removed_total", "Blobs removed from the store", ["reason"])
PAGE = 1000

# A blob may have been garbage and come back: a move there and home again ends where it began.
_GARBAGE = """
    SELECT g.location, g.path, f.id IS NOT NULL AS wanted FROM blob_garbage AS g
    LEFT JOIN stored_file AS f ON f.tenant_id = g.tenant_id AND f.location = g.location AND f.path = g.path
    ORDER BY g.at LIMIT 1000
"""
_FORGET = """
    DELETE FROM blob_garbage AS g USING unnest($1::text[], $2::text[]) AS t(location, path)
    WHERE g.location = t.location AND g.path = t.path
"""
_EXPIRE = """
    WITH gone AS (DELETE FROM reservation WHERE tenant_id = $1 AND expires_at < now() RETURNING size)
    UPDATE tenant_storage SET reserved = reserved - (SELECT coalesce(sum(size), 0) FROM gone) WHERE tenant_id = $1
"""
_HELD = "SELECT id FROM reservation WHERE id = ANY($1::uuid[])"
_OWNED = "SELECT path FROM stored_file WHERE location = $1 AND path = ANY($2::text[])"


class Cleanup:
    """`settled_after`: seconds after which a blob without file or reservation can belong to no upload under way."""

    def __init__(self, database: Database, locations: Locations, settled_after: float) -> None:
        self._database = database
        self._locations = locations
        self._settled_after = settled_after

    async def remove_garbage(self) -> None:
        """Bytes of deleted files: the store first, then the note, so that a crash repeats and forgets nothing."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_GARBAGE)
        for row in rows:
            if not row["wanted"]:
                await self._locations[row["location"]].delete(row["path"])
        if rows:
            async with self._database.transaction() as connection:
                await connection.execute(_FORGET, [row["location"] for row in rows], [row["path"] for row in rows])
            REMOVED.labels("deleted").inc(len(rows))

    async def expire_reservations(self) -> None:
        """Space held for uploads that died. The account's row is locked first, as everybody does."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch("SELECT DISTINCT tenant_id FROM reservation WHERE expires_at < now()")
        for row in rows:
            async with self._database.transaction() as connection:
                await connection.execute("SELECT FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE", row["tenant_id"])
                await connection.execute(_EXPIRE, row["tenant_id"])

    async def sweep_orphans(self) -> None:
        """Staged bytes and placed blobs whose upload never settled and no longer can."""
        for name in self._locations.names:
            await self._sweep_leftovers(name)
            await self._sweep_blobs(name)

    async def _sweep_leftovers(self, name: str) -> None:
        store, before = self._locations[name], time.time() - self._settled_after
        found = [leftover async for leftover in store.leftovers(before)]
        held = await self._held([leftover.upload_id for leftover in found])
        for leftover in found:
            if leftover.upload_id not in held:
                await self._drop(name, leftover)

    async def _drop(self, name: str, leftover: Leftover) -> None:
        await self._locations[name].drop(leftover)
        REMOVED.labels("abandoned").inc()

    async def _sweep_blobs(self, name: str) -> None:
        before, page = time.time() - self._settled_after, []
        async for found in self._locations[name].walk("customers/"):
            if found.modified < before:
                page.append(found)
            if len(page) == PAGE:
                await self._sweep_page(name, page)
                page = []
        await self._sweep_page(name, page)

    async def _sweep_page(self, name: str, page: Sequence[Found]) -> None:
        """By path, not by id: a move that died has left a second blob with its file's id."""
        named = {found.path: upload for found in page if (upload := upload_of(found.path)) is not None}
        async with self._database.transaction() as connection:
            owned = {row["path"] for row in await connection.fetch(_OWNED, name, list(named))}
        held = await self._held([upload for path, upload in named.items() if path not in owned])
        for path, upload in named.items():
            if path not in owned and upload not in held:
                log.warning("removing %s: no file and no upload owns it", path)
                await self._locations[name].delete(path)
                REMOVED.labels("orphan").inc()

    async def _held(self, uploads: list[UUID]) -> set[UUID]:
        async with self._database.transaction() as connection:
            return {row["id"] for row in await connection.fetch(_HELD, uploads)}
