"""Objects without a row. They are noted when they are first seen and removed a grace time later.

A crash leaves some; so does a database restored from a backup that is older than the store, and then every file stored
since looks like one: the grace time is for noticing that.
"""

import logging
import time
from collections.abc import Sequence
from uuid import UUID

from prometheus_client import Counter

from services.upload.blobs.garbage import REMOVED
from services.upload.blobs.locations import Locations
from services.upload.blobs.store import Found, Leftover, upload_of
from services.upload.findings import repository
from shared.db import Database

log = logging.getLogger(__name__)

FINDINGS = Counter("stowage_upload_findings_total", "Rows and objects that do not agree", ["kind"])
PAGE = 1000
PREFIXES = ("customers/", "parts/")  # below them we put things; what else lies in a store is not ours


class Orphans:
    """`settled_after`: seconds after which an object without row or reservation can belong to no upload under way.
    `grace`: seconds from finding it to removing it.
    """

    def __init__(self, database: Database, locations: Locations, *, settled_after: float, grace: float) -> None:
        self._database = database
        self._locations = locations
        self._settled_after = settled_after
        self._grace = grace

    async def run(self) -> dict[str, int] | None:
        found = removed = abandoned = 0
        for name in self._locations.names:
            abandoned += await self._drop_leftovers(name)
            found += await self._look(name)
            removed += await self._remove(name)
        async with self._database.transaction() as connection:
            await repository.forget_old(connection)
        done = {"found": found, "removed": removed, "abandoned": abandoned}
        return done if any(done.values()) else None

    async def _drop_leftovers(self, name: str) -> int:
        """Uploads begun in the store and never placed: staged files, blocks, parts."""
        store, dropped, page = self._locations[name], 0, []
        async with self._database.transaction() as connection:
            if await repository.is_relocating(connection):
                return 0
        async for leftover in store.leftovers(time.time() - self._settled_after):
            page.append(leftover)
            if len(page) == PAGE:
                dropped += await self._drop(name, page)
                page = []
        return dropped + await self._drop(name, page)

    async def _drop(self, name: str, page: Sequence[Leftover]) -> int:
        async with self._database.transaction() as connection:
            busy = await repository.busy(connection, [leftover.upload_id for leftover in page])
        left = [leftover for leftover in page if leftover.upload_id not in busy]
        for leftover in left:
            await self._locations[name].drop(leftover)
            async with self._database.transaction() as connection:
                await repository.note_removed(connection, None, name, leftover.handle, leftover.size)
        REMOVED.labels("abandoned").inc(len(left))
        return len(left)

    async def _look(self, name: str) -> int:
        before, noted, page = time.time() - self._settled_after, 0, []
        for prefix in PREFIXES:
            async for found in self._locations[name].walk(prefix):
                # A name that is not ours belongs to whoever shares the store with us.
                if found.modified < before and upload_of(found.path) is not None:
                    page.append(found)
                if len(page) == PAGE:
                    noted += await self._note(name, page)
                    page = []
        return noted + await self._note(name, page)

    async def _note(self, name: str, page: Sequence[Found]) -> int:
        """By path, not by id: a move that died has left a second object with its file's id."""
        async with self._database.transaction() as connection:
            owned = await repository.owned(connection, name, [found.path for found in page])
            left = [found for found in page if found.path not in owned]
            held = await repository.busy(connection, [upload for found in left if (upload := upload_of(found.path))])
            orphans = [
                (repository.tenant_of(found), found.path, found.size)
                for found in left
                if upload_of(found.path) not in held
            ]
            new = await repository.note(connection, "orphan", name, orphans)
        for path in new:
            log.warning("%s in %s belongs to no file and no upload; it goes in %.0f s", path, name, self._grace)
        FINDINGS.labels("orphan").inc(len(new))
        return len(new)

    async def _remove(self, name: str) -> int:
        removed, after = 0, UUID(int=0)
        while True:
            async with self._database.transaction() as connection:
                ripe = await repository.list_ripe(connection, name, self._grace, after)
            if not ripe:
                return removed
            removed += await self._remove_page(name, {row["path"]: row["id"] for row in ripe})
            after = ripe[-1]["id"]

    async def _remove_page(self, name: str, findings: dict[str, UUID]) -> int:
        """Looked at once more: an owner may have come, a restored backup for one."""
        async with self._database.transaction() as connection:
            owned = await repository.owned(connection, name, list(findings))
            await repository.close(connection, [findings[path] for path in owned], "owned")
        left = [path for path in findings if path not in owned]
        for path in left:
            await self._locations[name].delete(path)
        async with self._database.transaction() as connection:
            await repository.close(connection, [findings[path] for path in left], "removed")
        REMOVED.labels("orphan").inc(len(left))
        return len(left)
