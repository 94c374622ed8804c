"""Deleting: at once, or by way of the trash where the plan keeps one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from services.upload.entitlements.service import EntitlementService
from services.upload.errors import FileNotFound
from services.upload.files.bulk import each
from services.upload.files.service import FileService
from services.upload.quota.changes import Change, Condition
from services.upload.quota.rules import Alter, Delete
from services.upload.quota.service import AccountService
from services.upload.trash import repository
from shared.clock import Clock
from shared.db import Database
from shared.errors import DomainError

Deleted = Literal["deleted", "trashed"]

PAGE = 500  # files of one round
MOST = 10_000  # files of one request


@dataclass(frozen=True, slots=True)
class Emptied:
    """Files deleted or put into the trash, and their bytes. `complete`: there are no more."""

    files: int
    bytes: int
    complete: bool


class TrashService:
    def __init__(
        self,
        database: Database,
        files: FileService,
        accounts: AccountService,
        entitlements: EntitlementService,
        clock: Clock,
    ) -> None:
        self._database = database
        self._files = files
        self._accounts = accounts
        self._entitlements = entitlements
        self._clock = clock

    async def delete(self, tenant: UUID, file_id: UUID, by: UUID | None, *, permanent: bool = False) -> Deleted:
        """Raises FileNotFound, also for what is in the trash already, unless `permanent`.

        Deleted for good, its space is free at once; the bytes are removed after the commit.
        """
        days = 0 if permanent else (await self._entitlements.terms(tenant)).trash_days
        if days:
            change = Change(Alter(file_id), trash=self._clock.now() + timedelta(days=days), by=by)
        else:
            change = Change(Delete(file_id, 0), by=by, condition=_is_file)
        if not (await self._accounts.submit(tenant, change)).ok:
            raise FileNotFound
        return "trashed" if days else "deleted"

    async def delete_by_path(self, tenant: UUID, path: str, by: UUID | None, *, permanent: bool = False) -> None:
        found = await self._files.ids_by_path(tenant, [path])
        if path not in found:
            raise FileNotFound
        await self.delete(tenant, found[path], by, permanent=permanent)

    async def delete_many(
        self, tenant: UUID, ids: list[UUID], paths: list[str], by: UUID | None, *, permanent: bool
    ) -> Mapping[UUID | str, Deleted | DomainError]:
        """A result for each id and each path, whichever way it was named."""
        found = await self._files.ids_by_path(tenant, paths) if paths else {}

        async def delete(key: UUID | str) -> Deleted:
            file_id = key if isinstance(key, UUID) else found.get(key)
            if file_id is None:
                raise FileNotFound
            return await self.delete(tenant, file_id, by, permanent=permanent)

        return await each([*ids, *paths], delete)

    async def restore(self, tenant: UUID, file_id: UUID, by: UUID | None) -> None:
        """Its bytes were never uncounted, so it always fits. Raises FileNotFound for what is not in the trash."""
        if not (await self._accounts.submit(tenant, Change(Alter(file_id), by=by))).ok:
            raise FileNotFound

    async def empty(self, tenant: UUID, by: UUID | None) -> Emptied:
        """Deletes for good what is in the trash, at most MOST files. One restored meanwhile stays."""
        files = size = 0
        while files < MOST:
            async with self._database.transaction(tenant) as connection:
                trashed = await repository.list_trashed(connection, PAGE)
            done = await self._delete_all(tenant, trashed, by, _is_trashed)
            files, size = files + len(done), size + sum(done)
            if not done:
                return Emptied(files, size, complete=True)
        return Emptied(files, size, complete=False)

    async def purge_due(self) -> int:
        """A job's work: deletes for good what has been in the trash for its time. Returns how many.

        Needs no lock: a file two of them want is deleted by one, and one restored meanwhile stays.
        """
        purged = 0
        while True:
            async with self._database.transaction() as connection:
                due = await repository.list_due(connection, PAGE)
            done = 0
            for tenant in dict.fromkeys(tenant for tenant, _ in due):
                ids = [file_id for owner, file_id in due if owner == tenant]
                done += len(await self._delete_all(tenant, ids, None, _is_due(self._clock.now())))
            purged += done
            if not done:
                return purged

    async def _delete_all(self, tenant: UUID, ids: list[UUID], by: UUID | None, condition: Condition) -> list[int]:
        """The sizes of those that went."""

        async def delete(file_id: UUID) -> int:
            result = await self._accounts.submit(tenant, Change(Delete(file_id, 0), by=by, condition=condition))
            if not result.ok or result.event is None:
                raise FileNotFound
            return result.event.size

        results = await each(ids, delete)
        return [size for size in results.values() if isinstance(size, int)]


def _is_file(row: Mapping[str, Any]) -> bool:
    """And no older version of one."""
    return row["version_of"] is None


def _is_trashed(row: Mapping[str, Any]) -> bool:
    return row["trashed_at"] is not None


def _is_due(now: datetime) -> Condition:
    return lambda row: _is_trashed(row) and datetime.fromisoformat(row["purge_at"]) <= now
