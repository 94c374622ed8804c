"""Folders: listed by the files in them, moved and deleted file by file."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.upload.errors import FileNotFound, InvalidUpload
from services.upload.files import rules
from services.upload.files.bulk import each
from services.upload.folders import repository
from services.upload.folders.repository import Folder
from services.upload.quota.changes import Change, Condition
from services.upload.quota.rules import Alter
from services.upload.quota.service import AccountService
from services.upload.trash.service import MOST, PAGE, TrashService
from shared.db import Database


@dataclass(frozen=True, slots=True)
class Done:
    """Files done with. `complete`: none is left."""

    files: int
    complete: bool


class FolderService:
    def __init__(self, database: Database, accounts: AccountService, trash: TrashService) -> None:
        self._database = database
        self._accounts = accounts
        self._trash = trash

    async def list_below(self, tenant: UUID, parent: str, after: str, limit: int, *, sums: bool) -> list[Folder]:
        """The work of a page grows with the files below `parent` only where `sums` are asked for."""
        rules.check_folder(parent)
        async with self._database.transaction(tenant) as connection:
            return await repository.list_names(connection, parent, after, limit, sums=sums)

    async def delete(self, tenant: UUID, folder: str, by: UUID | None, *, permanent: bool) -> Done:
        """All that is in it and below, at most MOST files. Raises FileNotFound where there is nothing."""

        async def delete(file: tuple[UUID, str]) -> bool:
            await self._trash.delete(tenant, file[0], by, permanent=permanent)
            return True

        return await self._all(tenant, folder, delete)

    async def move(self, tenant: UUID, folder: str, target: str, by: UUID | None) -> Done:
        """`folder` becomes `target`, with everything below it. No byte moves: the store knows no folders."""
        rules.check_folder(target)
        if target == folder or target.startswith(f"{folder}/"):
            raise InvalidUpload("invalid_folder", "A folder cannot be moved into itself.")

        async def move(file: tuple[UUID, str]) -> bool:
            file_id, inside = file
            values = {"folder": rules.check_folder((target + inside[len(folder) :]).strip("/"))}
            change = Change(Alter(file_id), values=values, condition=_is_in(inside), by=by)
            if not (await self._accounts.submit(tenant, change)).ok:
                raise FileNotFound
            return True

        return await self._all(tenant, folder, move)

    async def _all(self, tenant: UUID, folder: str, work: Callable[[tuple[UUID, str]], Awaitable[bool]]) -> Done:
        if not rules.check_folder(folder):
            raise InvalidUpload("invalid_folder", "Name a folder.")
        files = 0
        while files < MOST:
            async with self._database.transaction(tenant) as connection:
                found = await repository.list_files(connection, folder, PAGE)
            results = await each(found, work)
            done = sum(result is True for result in results.values())
            files += done
            if not found and not files:
                raise FileNotFound
            if not done:
                _raise_refusal(results)
                return Done(files, complete=True)
        return Done(files, complete=False)


def _is_in(folder: str) -> Condition:
    return lambda row: bool(row["folder"] == folder)


def _raise_refusal(results: Mapping[Any, Any]) -> None:
    """A file that went meanwhile is done with; anything else stops here."""
    for result in results.values():
        if isinstance(result, Exception) and not isinstance(result, FileNotFound):
            raise result
