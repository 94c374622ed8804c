"""The bytes of an export's members, in pieces; what is small is fetched ahead of its turn."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson

from services.upload.blobs.locations import Locations
from services.upload.exports import repository
from services.upload.exports.rules import ACCOUNT, MANIFEST, TRANSACTIONS, Entry, manifest_head, manifest_line
from shared.db import Database

log = logging.getLogger(__name__)

PAGE = 500
SMALL = 1024 * 1024  # bytes of a member that is fetched whole
AHEAD = 16  # members


class Members:
    def __init__(self, database: Database, locations: Locations, export: Any) -> None:
        self._database = database
        self._locations = locations
        self._export = export

    async def entries(self, after: int = 0) -> AsyncIterator[Entry]:
        """In order, past the number given."""
        while True:
            async with self._database.transaction() as connection:
                page = await repository.list_entries(connection, self._export, after, PAGE)
            if not page:
                return
            for entry in page:
                yield entry
            after = page[-1].number

    async def contents(self, after: int) -> AsyncIterator[tuple[Entry, AsyncIterator[bytes] | None]]:
        """Each member with its bytes, or None where a file's bytes are not to be had."""
        waiting: deque[tuple[Entry, asyncio.Task[list[bytes] | None] | None]] = deque()
        try:
            async for entry in self.entries(after):
                waiting.append((entry, self._ahead(entry)))
                if len(waiting) > AHEAD:
                    yield await self._next(waiting)
            while waiting:
                yield await self._next(waiting)
        finally:
            for _, task in waiting:
                if task is not None:
                    task.cancel()

    def _ahead(self, entry: Entry) -> asyncio.Task[list[bytes] | None] | None:
        if entry.file is None or entry.file["size"] > SMALL or _is_hidden(entry):
            return None
        return asyncio.create_task(self._whole(entry))

    async def _next(
        self, waiting: "deque[tuple[Entry, asyncio.Task[list[bytes] | None] | None]]"
    ) -> tuple[Entry, AsyncIterator[bytes] | None]:
        entry, task = waiting.popleft()
        if task is not None:
            chunks = await task
            return entry, None if chunks is None else _iterate(chunks)
        if entry.file is None:
            return entry, self._own(entry)
        return entry, None if _is_hidden(entry) else await self._open(entry)

    async def _whole(self, entry: Entry) -> list[bytes] | None:
        chunks = await self._open(entry)
        return None if chunks is None else [chunk async for chunk in chunks]

    async def _open(self, entry: Entry) -> AsyncIterator[bytes] | None:
        """Where the snapshot saw it; else where the same bytes are by now; else they are gone."""
        file: Any = entry.file
        found: tuple[str, str] | None = (file["location"], file["path"])
        for _ in range(2):
            if found is None:
                return None
            chunks = self._locations[found[0]].read(found[1], 0, file["size"])
            try:
                first = await anext(chunks, b"")
            except FileNotFoundError:
                async with self._database.transaction() as connection:
                    found = await repository.find_place(connection, UUID(file["id"]), file["sha256"])
            except OSError as error:
                log.error("the file %s has lost all its bytes: %s", file["id"], error)
                return _iterate([])
            else:
                return _chain(first, chunks)
        return None

    async def _own(self, entry: Entry) -> AsyncIterator[bytes]:
        match entry.name:
            case name if name == ACCOUNT:
                async with self._database.transaction() as connection:
                    account = await repository.read_account(connection, self._export["tenant_id"])
                yield orjson.dumps(account, option=orjson.OPT_INDENT_2)
            case name if name == TRANSACTIONS:
                async for chunk in self._transactions():
                    yield chunk
            case name if name == MANIFEST:
                async for chunk in self._manifest(entry.number):
                    yield chunk

    async def _transactions(self) -> AsyncIterator[bytes]:
        seq = 0
        while seq < self._export["position"]:
            async with self._database.transaction() as connection:
                rows = await repository.list_transactions(
                    connection, self._export["tenant_id"], seq, self._export["position"], PAGE
                )
            yield b"".join(orjson.dumps(dict(row), default=str) + b"\n" for row in rows)
            seq = rows[-1]["seq"]

    async def _manifest(self, own: int) -> AsyncIterator[bytes]:
        export = self._export
        at, who = export["started_at"], str(export["tenant_id"])
        yield _line(manifest_head(who, str(export["id"]), at, export["wanted"], export["position"]))
        members = size = problems = 0
        async for entry in self.entries():
            if entry.number == own:
                break
            yield _line(manifest_line(entry))
            members += entry.at is not None
            size += entry.size or 0
            problems += entry.problem is not None
        yield _line({"members": members, "bytes": size, "problems": problems})


def _is_hidden(entry: Entry) -> bool:
    """Not found clean: such a file is named and not handed out."""
    return entry.problem in {"scanning", "blocked"}


def _line(found: dict[str, Any]) -> bytes:
    return orjson.dumps(found) + b"\n"


async def _iterate(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """An object that ends early gives what it has: whoever counts will notice."""
    yield first
    try:
        async for chunk in rest:
            yield chunk
    except OSError as error:
        log.error("an object ends before its size: %s", error)
