"""What deletions and crashes leave in the store, removed afterwards. Every step may run twice or die halfway."""

import logging
import time
from uuid import UUID

from prometheus_client import Counter

from services.upload.blobs.store import BlobStore, Found
from shared.db import Database

log = logging.getLogger(__name__)

REMOVED = Counter("stowage_upload_blobs_removed_total", "Blobs removed from the store", ["reason"])

_GARBAGE = "SELECT path FROM blob_garbage ORDER BY at LIMIT 1000"
_FORGET = "DELETE FROM blob_garbage WHERE path = ANY($1::text[])"
_EXPIRE = """
    WITH gone AS (DELETE FROM reservation WHERE tenant_id = $1 AND expires_at < now() RETURNING size)
    UPDATE tenant_storage SET reserved = reserved - (SELECT coalesce(sum(size), 0) FROM gone) WHERE tenant_id = $1
"""
_WANTED = """
    SELECT id FROM unnest($1::uuid[]) AS t(id)
    WHERE EXISTS (SELECT 1 FROM stored_file AS f WHERE f.id = t.id)
       OR EXISTS (SELECT 1 FROM reservation AS r WHERE r.id = t.id)
"""


class Cleanup:
    """`settled_after`: seconds after which a blob without file or reservation can belong to no upload under way."""

    def __init__(self, database: Database, store: BlobStore, settled_after: float) -> None:
        self._database = database
        self._store = store
        self._settled_after = settled_after

    async def remove_garbage(self) -> None:
        """Bytes of deleted files: the store first, then the note, so that a crash repeats and forgets nothing."""
        async with self._database.transaction() as connection:
            paths = [row["path"] for row in await connection.fetch(_GARBAGE)]
        for path in paths:
            await self._store.delete(path)
        if paths:
            async with self._database.transaction() as connection:
                await connection.execute(_FORGET, paths)
            REMOVED.labels("deleted").inc(len(paths))

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
        before = time.time() - self._settled_after
        stale = await self._store.stale_uploads(before)
        for abandoned in set(stale) - await self._wanted(stale):
            await self._store.drop_upload(abandoned)
            REMOVED.labels("abandoned").inc()
        old = [found for found in await self._store.walk("") if found.modified < before]
        named: dict[UUID | None, Found] = {_upload_of(found): found for found in old}
        wanted = await self._wanted([upload for upload in named if upload is not None])
        for upload, found in named.items():
            if upload is not None and upload not in wanted:
                log.warning("removing %s: no file and no upload owns it", found.path)
                await self._store.delete(found.path)
                REMOVED.labels("orphan").inc()

    async def _wanted(self, uploads: list[UUID]) -> set[UUID]:
        async with self._database.transaction() as connection:
            return {row["id"] for row in await connection.fetch(_WANTED, uploads)}


def _upload_of(found: Found) -> UUID | None:
    try:
        return UUID(found.path.rsplit("/", 1)[-1].split(".")[0])
    except ValueError:
        return None
