"""Rows without their object. Said aloud and never repaired by itself: the bytes are gone, and only a backup has them.

The row stays as it is, so that the file's name, size and hash can be told to whoever looks for it. Reading it answers
404. A finding ends when the object is back or the file is deleted.
"""

import asyncio
import logging
from typing import Any
from uuid import UUID

from services.upload.blobs.locations import Locations
from services.upload.blobs.store import Found
from services.upload.findings import repository
from services.upload.findings.orphans import FINDINGS
from services.upload.jobs.history import History
from shared.db import Database
from shared.errors import DomainError

log = logging.getLogger(__name__)

ROWS = 20_000  # looked at in one run; the next one goes on behind them
PAGE = 500
AT_ONCE = 16
UNKNOWN = "unknown"


class Missing:
    """A file's object is whole before its row is there, so any row may be looked at at any time."""

    def __init__(self, database: Database, locations: Locations) -> None:
        self._database = database
        self._locations = locations
        self._history = History(database)

    async def run(self) -> dict[str, Any]:
        last = await self._history.newest_result("missing") or {}
        after, looked, found = UUID(last.get("after") or str(UUID(int=0))), 0, 0
        back = await self._look_again()
        while looked < ROWS:
            async with self._database.transaction() as connection:
                rows = await repository.list_files(connection, after, PAGE)
            if not rows:
                after = UUID(int=0)  # from the start, next time
                break
            found += await self._look(rows)
            looked, after = looked + len(rows), rows[-1]["id"]
        return {"looked": looked, "found": found, "back": back, "after": str(after)}

    async def _look(self, rows: list[Any]) -> int:
        gate = asyncio.Semaphore(AT_ONCE)
        kinds = await asyncio.gather(*(self._judge(row, gate) for row in rows))
        wrong = [(row, kind) for row, kind in zip(rows, kinds, strict=True) if kind not in (None, UNKNOWN)]
        return sum([await self._note(row, kind) for row, kind in wrong if kind is not None])

    async def _judge(self, row: Any, gate: asyncio.Semaphore) -> str | None:
        async with gate:
            try:
                return judged(await self._locations[row["location"]].stat(row["path"]), row["size"])
            except DomainError:
                return UNKNOWN  # a store that is away says nothing about its objects

    async def _note(self, row: Any, kind: str) -> int:
        async with self._database.transaction() as connection:
            # Deleted or moved since the page was read.
            if not await repository.is_wanted(connection, row["location"], row["path"], row["size"]):
                return 0
            what = (row["tenant_id"], row["path"], row["size"])
            new = await repository.note(connection, kind, row["location"], [what])
        if new:
            log.error("the file %s is %s: %s in %s", row["id"], kind, row["path"], row["location"])
            FINDINGS.labels(kind).inc()
        return len(new)

    async def _look_again(self) -> int:
        back = 0
        async with self._database.transaction() as connection:
            rows = await repository.list_open_missing(connection)
        for row in rows:
            async with self._database.transaction() as connection:
                wanted = await repository.is_wanted(connection, row["location"], row["path"], row["size"])
            if wanted and await self._judge(row, asyncio.Semaphore()) is not None:
                continue
            async with self._database.transaction() as connection:
                await repository.close(connection, [row["id"]], "back" if wanted else "gone")
            back += wanted
        return back


def judged(found: Found | None, size: int) -> str | None:
    """What is wrong with an object that should have `size` bytes."""
    if found is None:
        return "missing"
    return "damaged" if found.size != size else None
