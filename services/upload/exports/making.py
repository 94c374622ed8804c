"""The job that makes exports, a few at a time, and takes them away when their time is over."""

import asyncio
import logging
from typing import Any
from uuid import UUID

from services.upload.blobs.locations import Locations
from services.upload.blobs.store import StoreUnavailable
from services.upload.exports import repository
from services.upload.exports.checking import NotAsWritten, check
from services.upload.exports.members import Members
from services.upload.exports.writing import ArchiveWriter, Unwanted
from shared import outbox
from shared.db import Database
from shared.errors import DomainError
from shared.events import ExportFailed, ExportReady
from shared.ids import new_id

log = logging.getLogger(__name__)

AT_ONCE = 3
ATTEMPTS = 20
PATIENCE = 3  # attempts to go on where a process that died had come to, then it begins anew
DAYS = 7  # an export is offered


class ExportMaker:
    def __init__(self, database: Database, locations: Locations) -> None:
        self._database = database
        self._locations = locations

    async def run(self) -> dict[str, Any] | None:
        """Until none is waiting: a long one does not hold up the short ones behind it."""
        running: dict[UUID, asyncio.Task[str]] = {}
        ended: list[str] = []
        try:
            while True:
                for export in await self._due(list(running)):
                    running[export["id"]] = asyncio.create_task(self._make(export))
                if not running:
                    break
                await asyncio.wait(running.values(), timeout=1, return_when=asyncio.FIRST_COMPLETED)
                done = [key for key, task in running.items() if task.done()]
                ended += [running.pop(key).result() for key in done]
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)
        expired = await self._expire()
        return {"ended": ended, "expired": expired} if ended or expired else None

    async def _due(self, running: list[UUID]) -> list[Any]:
        if len(running) >= AT_ONCE:
            return []
        async with self._database.transaction() as connection:
            return await repository.list_due(connection, running, AT_ONCE - len(running))

    async def _make(self, export: Any) -> str:
        """Returns what it has come to. A failure is tried again later, from where it was."""
        try:
            return await self._step_by_step(export)
        except Unwanted:
            return "expired"
        except Exception as error:
            log.exception("the export %s failed", export["id"])
            return await self._fail(export, _reason(error))

    async def _fail(self, export: Any, why: str) -> str:
        """For good when it was tried often enough: then whoever asked for it is told in the same commit."""
        async with self._database.transaction() as connection:
            if export["attempts"] + 1 < ATTEMPTS:
                await repository.postpone(connection, export["id"], why)
                return "postponed"
            ended = await repository.end(connection, export["id"], "failed", DAYS, why)
            if ended is not None:
                await outbox.append(connection, [_failed(ended)], at=ended["ended_at"])
            return "failed"

    async def _step_by_step(self, export: Any) -> str:
        while True:
            match export["status"]:
                case "pending":
                    export = await self._begin(export)
                case "running":
                    export = await self._write(export)
                case "verifying":
                    export = await self._verify(export)
                case ended:
                    return str(ended)
            if export is None:
                raise Unwanted

    async def _begin(self, export: Any) -> Any:
        async with self._database.transaction() as connection:
            location = await connection.fetchval(
                "SELECT location FROM tenant_storage WHERE tenant_id = $1", export["tenant_id"]
            )
            return await repository.take_snapshot(connection, export, location, new_id())

    async def _write(self, export: Any) -> Any:
        store = self._locations[export["location"]]
        found = await store.stat(repository.path_of(export["tenant_id"], export["id"]))
        if found is not None:  # placed by a process that died before it could say so
            return await self._placed(export, found.size)
        writer = ArchiveWriter(self._database, store, export, self._members(export))
        try:
            size = await writer.write()
        except Unwanted:
            await asyncio.shield(asyncio.ensure_future(writer.abort()))
            raise
        except BaseException as error:
            await asyncio.shield(asyncio.ensure_future(writer.suspend()))
            if isinstance(error, StoreUnavailable) and export["attempts"] % PATIENCE == PATIENCE - 1:
                # What was safe may not be there any more: another machine's disk, or swept away.
                return await self._restart(export, "What had been written is gone.", [])
            raise
        return await self._placed(export, size)

    async def _placed(self, export: Any, size: int) -> Any:
        async with self._database.transaction() as connection:
            placed = await repository.note_placed(connection, export["id"], size)
        if placed is None:
            await self._remove(export)
        return placed

    async def _verify(self, export: Any) -> Any:
        try:
            damaged = await check(self._locations[export["location"]], export, self._members(export))
            why = "Files whose bytes are damaged were found."
        except NotAsWritten as error:
            log.error("the export %s is made anew: %s", export["id"], error)
            damaged, why = [], str(error)
        else:
            if not damaged:
                return await self._offer(export)
        if export["attempts"] + 1 >= ATTEMPTS:
            raise NotAsWritten(why)
        return await self._restart(export, why, damaged)

    async def _restart(self, export: Any, why: str, damaged: list[int]) -> Any:
        await self._remove(export)
        async with self._database.transaction() as connection:
            return await repository.restart(connection, export["id"], new_id(), why, damaged)

    async def _offer(self, export: Any) -> Any:
        async with self._database.transaction() as connection:
            lacks = await repository.has_problem(connection, export["id"])
            status = "incomplete" if lacks else "ready"
            ended = await repository.end(connection, export["id"], status, DAYS)
            if ended is not None:
                await outbox.append(connection, [_ready(ended)], at=ended["ended_at"])
            return ended or await repository.find(connection, export["id"])

    async def _remove(self, export: Any) -> None:
        await self._locations[export["location"]].delete(repository.path_of(export["tenant_id"], export["id"]))

    async def _expire(self) -> int:
        async with self._database.transaction() as connection:
            rows = await repository.list_expired(connection)
            for row in rows:
                await repository.discard(connection, row["tenant_id"], row["id"])
            await repository.forget_old(connection)
        return len(rows)

    def _members(self, export: Any) -> Members:
        return Members(self._database, self._locations, export)


def _reason(error: Exception) -> str:
    """What whoever asked for it may read."""
    if isinstance(error, DomainError):
        return error.detail
    return str(error) if isinstance(error, NotAsWritten) else "An unexpected error; see the log."


def _failed(export: Any) -> ExportFailed:
    return ExportFailed(
        tenant_id=export["tenant_id"],
        export_id=export["id"],
        requested_by=export["requested_by"],
        error=export["error"],
        at=export["ended_at"],
    )


def _ready(export: Any) -> ExportReady:
    return ExportReady(
        tenant_id=export["tenant_id"],
        export_id=export["id"],
        requested_by=export["requested_by"],
        size=export["size"],
        complete=export["status"] == "ready",
        expires_at=export["expires_at"],
        at=export["ended_at"],
    )
