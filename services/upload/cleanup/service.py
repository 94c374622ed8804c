"""Freeing space on request: planned, shown, and then done as it was shown."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.cleanup import repository
from services.upload.cleanup.rules import ORDER, Kind
from services.upload.quota.changes import Change
from services.upload.quota.expiry import give_back
from services.upload.quota.rules import Delete
from services.upload.quota.service import AccountService
from shared import faults
from shared.db import Database, turn
from shared.errors import DomainError
from shared.ids import new_id

TOGETHER = 256  # items deleted at once: the account's writer puts them into one transaction


@dataclass(frozen=True, slots=True)
class Wanted:
    """`days`: only what is at least so old, where age means something: temporary files, trash, thumbnails."""

    kinds: frozenset[Kind]
    days: int = 0


class CleanupService:
    def __init__(self, database: Database, accounts: AccountService) -> None:
        self._database = database
        self._accounts = accounts

    async def plan(self, tenant: UUID, wanted: Wanted, by: UUID | None) -> UUID:
        """Chooses and remembers what would go. Nothing is deleted."""
        await self._accounts.state(tenant)  # whoever never stored anything has no account yet
        cleanup, chosen = new_id(), 0
        async with self._database.transaction(tenant) as connection:
            said = {"kinds": sorted(wanted.kinds), "older_than_days": wanted.days}
            await repository.create(connection, cleanup, tenant, said, by)
            for kind in ORDER:
                if kind in wanted.kinds:
                    chosen = await repository.choose(connection, cleanup, tenant, kind, wanted.days, chosen)
            if chosen > repository.ITEMS:
                await repository.cut(connection, cleanup)
        return cleanup

    async def run(self, tenant: UUID, cleanup: UUID, by: UUID | None) -> None:
        """Exactly what was planned, less what has changed since. A run that died goes on; one that ended is left alone.

        Raises DomainError 404 `cleanup_not_found`, 409 `cleanup_running`.
        """
        async with turn(self._database, f"cleanup {tenant}") as mine:
            if mine is None:
                raise DomainError("cleanup_running", 409, "A clean-up is under way; try again when it has ended.")
            plan = await self.get(tenant, cleanup)
            if plan["ended_at"] is not None:
                return
            async with self._database.transaction(tenant) as connection:
                resumed = await repository.start(connection, cleanup)
            while await self._step(tenant, plan, by, resumed=resumed):
                resumed = False  # only the first items may have been dealt with by a process that died
            async with self._database.transaction(tenant) as connection:
                await repository.end(connection, cleanup)

    async def get(self, tenant: UUID, cleanup: UUID) -> Any:
        """Raises DomainError 404 `cleanup_not_found`."""
        async with self._database.transaction(tenant) as connection:
            found = await repository.find(connection, cleanup)
        if found is None:
            raise DomainError("cleanup_not_found", 404, "There is no such clean-up.")
        return found

    async def list_items(self, tenant: UUID, cleanup: UUID, after: int, limit: int) -> list[Any]:
        async with self._database.transaction(tenant) as connection:
            return await repository.list_items(connection, cleanup, after, limit)

    async def list_ended(self, tenant: UUID, limit: int, before: UUID | None) -> list[Any]:
        async with self._database.transaction(tenant) as connection:
            return await repository.list_ended(connection, limit, before)

    async def _step(self, tenant: UUID, plan: Any, by: UUID | None, *, resumed: bool) -> bool:
        async with self._database.transaction(tenant) as connection:
            items = await repository.list_waiting(connection, plan["id"], TOGETHER)
        if not items:
            return False
        abandoned = [item["thing_id"] for item in items if item["kind"] == "abandoned"]
        done = await asyncio.gather(*(self._free(tenant, plan["id"], item, by) for item in items))
        faults.reach("upload.cleaned")
        freed = {item["thing_id"] for item, ok in zip(items, done, strict=True) if ok}
        async with self._database.transaction(tenant) as connection:
            if abandoned:
                freed |= (await give_back(connection, tenant, abandoned)).keys()
            if resumed:
                freed |= await repository.booked(connection, plan, [item["thing_id"] for item in items])
            await repository.decide(connection, plan["id"], _outcomes(items, freed))
        return True

    async def _free(self, tenant: UUID, cleanup: UUID, item: Any, by: UUID | None) -> bool:
        if item["kind"] == "abandoned":
            return False  # given back in the commit that says so
        if item["kind"] == "thumbnails":
            since = datetime.fromisoformat(item["given"]["unused_since"])
            async with self._database.transaction(tenant) as connection:
                return await repository.drop_thumbnails(connection, item["thing_id"], since)
        given = {UUID(file): columns for file, columns in item["given"].items()}
        # Decided under the account's lock: the copy that is to stay cannot go at the same moment.
        change = Change(Delete(item["thing_id"], 0), given=given, metadata={"cleanup": str(cleanup)}, by=by)
        return (await self._accounts.submit(tenant, change)).ok


def _outcomes(items: Sequence[Any], freed: set[UUID]) -> list[tuple[int, str]]:
    return [(item["number"], "freed" if item["thing_id"] in freed else "changed") for item in items]
