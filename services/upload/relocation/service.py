"""Files moved from one store to another while they are read, written and deleted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.upload.blobs.digest import Digest
from services.upload.blobs.locations import Locations
from services.upload.blobs.store import BlobStore, BlobWriter
from services.upload.files.rules import storage_path
from services.upload.quota.changes import Change
from services.upload.quota.rules import Alter
from services.upload.quota.service import AccountService
from services.upload.relocation import repository
from shared import faults
from shared.db import Database
from shared.errors import DomainError
from shared.ids import new_id

log = logging.getLogger(__name__)

NAME = "relocation"
AT_ONCE = 4


class Damaged(Exception):
    """The bytes are not those the file's sha256 was made of, or not all of them."""


@dataclass(slots=True)
class Moved:
    """`failed`: why, by file."""

    files: int = 0
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class Relocator:
    """Nothing is remembered but where each file is: whoever starts it again goes on with what is left."""

    def __init__(self, database: Database, locations: Locations, accounts: AccountService) -> None:
        self._database = database
        self._locations = locations
        self._accounts = accounts

    async def run(self, target: str, tenant: UUID | None, tell: Callable[[Moved], None]) -> dict[str, Any]:
        """New files go to `target` from the start. Raises LocationUnknown. Old bytes become garbage an hour later."""
        await self._locations[target].check()
        async with self._database.transaction() as connection:
            await repository.send_new_files(connection, target, tenant)
        moved = Moved()
        # Uploads that had begun before settle in the old store, so it ends when a round has found nothing.
        while await self._round(target, tenant, moved, tell):
            moved.failed.clear()
        return {"files": moved.files, "bytes": moved.bytes, "failed": moved.failed}

    async def _round(self, target: str, tenant: UUID | None, moved: Moved, tell: Callable[[Moved], None]) -> int:
        before, after, gate = moved.files, UUID(int=0), asyncio.Semaphore(AT_ONCE)
        while True:
            async with self._database.transaction() as connection:
                rows = await repository.list_elsewhere(connection, target, tenant, after)
            if not rows:
                return moved.files - before
            await asyncio.gather(*(self._move(row, target, moved, gate) for row in rows))
            tell(moved)
            after = UUID(rows[-1]["id"])

    async def _move(self, row: dict[str, Any], target: str, moved: Moved, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                if await self._move_one(row, target):
                    moved.files += 1
                    moved.bytes += row["size"]
            except (DomainError, Damaged, FileNotFoundError) as error:
                log.error("the file %s stays in %s: %s", row["id"], row["location"], error)
                moved.failed[row["id"]] = f"{type(error).__name__}: {error}"

    async def _move_one(self, row: dict[str, Any], target: str) -> bool:
        """False when the file was changed or deleted meanwhile."""
        path, store = _path_in(row), self._locations[target]
        async with self._database.transaction() as connection:
            if await repository.is_taken(connection, target, path):
                raise DomainError("place_taken", 409, f"another file has {path} in {target}")
            # Waits for the garbage job, should it be deleting just that: afterwards nobody else will.
            await repository.take_note_away(connection, target, path)
        await store.delete(path)  # of a move that died
        writer = await self._copy(row, store, path)
        faults.reach("upload.copied")
        given = {UUID(row["id"]): {name: row[name] for name in ("location", "path", "sha256")}}
        change = Change(Alter(UUID(row["id"])), place=(target, path), given=given)
        result = await self._accounts.submit(UUID(row["tenant_id"]), change)
        if result.missing:
            async with self._database.transaction() as connection:
                # The first attempt may have been committed before its connection broke.
                if await repository.is_taken(connection, target, path):
                    return True
            await writer.abort()
            return False
        async with self._database.transaction() as connection:
            await repository.drop_thumbnails(connection, UUID(row["id"]))
        return True

    async def _copy(self, row: dict[str, Any], store: BlobStore, path: str) -> BlobWriter:
        """Copied, placed, read back and compared. Raises Damaged, FileNotFoundError."""
        digest = Digest()
        writer = store.create(new_id(), digest, path)
        try:
            async for chunk in _read(self._locations[row["location"]], row["path"], row["size"]):
                await writer.write(chunk)
            await writer.finish()
            if digest.sha256 != row["sha256"]:
                raise Damaged(f"{row['path']} in {row['location']}")
            await writer.place(path)
            if (await Digest.of(_read(store, path, row["size"]))).sha256 != row["sha256"]:
                raise Damaged(f"{path} after it was copied")
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(writer.abort()))
            raise
        return writer


async def _read(store: BlobStore, path: str, size: int) -> AsyncIterator[bytes]:
    """Raises Damaged where the bytes end before `size`, FileNotFoundError."""
    try:
        async for chunk in store.read(path, 0, size):
            yield chunk
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(str(error)) from error


def _path_in(row: dict[str, Any]) -> str:
    """The same, unless it was adopted and lies where others may have the same path."""
    if row["path"].startswith(f"customers/{row['tenant_id']}/"):
        return str(row["path"])
    tenant, file = UUID(row["tenant_id"]), UUID(row["id"])
    return storage_path(tenant, file, row["name"], row["category"], row["subcategory"], row["entity_id"])
