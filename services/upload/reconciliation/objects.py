"""What lies in the stores for one tenant, against its files. Reads, and changes nothing."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time
from uuid import UUID

from services.upload.blobs.locations import Locations
from services.upload.blobs.store import Found, upload_of
from services.upload.findings import repository as findings
from services.upload.reconciliation.looks import Lying, list_uploads, sum_lost
from services.upload.reconciliation.rules import NOTHING, Amount, Kind, Objects
from shared.db import Database
from shared.errors import DomainError

log = logging.getLogger(__name__)

LISTING = 18.0  # seconds for all of it
MATCHING = 8.0  # seconds for what the listing did not settle
AT_ONCE = 16
NAMED = 100  # missing ones in the answer

Place = tuple[str, str]  # location, path


@dataclass(frozen=True, slots=True)
class Listing:
    """`staged`: what uploads under way have in the stores; `abandoned`: what nobody will place, as far as its name says
    whose it was. In bytes.
    """

    found: Mapping[Place, Found]
    staged: int
    abandoned: int


class StoreWalk:
    """`settled_after`: seconds after which an object without a row can belong to nothing under way, a move for one."""

    def __init__(self, database: Database, locations: Locations, *, settled_after: float) -> None:
        self._database = database
        self._locations = locations
        self._settled_after = settled_after

    async def walk(self, tenant: UUID) -> Listing | None:
        """Before the files are read, so that one stored meanwhile is looked for by itself. None: not in time, or a
        store is away.
        """
        try:
            async with asyncio.timeout(LISTING):
                return await self._list(tenant)
        except (TimeoutError, DomainError, OSError) as error:
            log.warning("the store was not listed for tenant %s: %s", tenant, error or "it took too long")
            return None

    async def match(self, tenant: UUID, listing: Listing, rows: Sequence[Lying]) -> Objects | None:
        try:
            async with asyncio.timeout(MATCHING):
                return await self._match(tenant, listing, rows)
        except (TimeoutError, DomainError, OSError) as error:
            log.warning("objects of tenant %s were not found in time: %s", tenant, error or "it took too long")
            return None

    async def _list(self, tenant: UUID) -> Listing:
        objects: dict[Place, Found] = {}
        staged: dict[UUID, int] = {}
        abandoned = 0
        for name in self._locations.names:
            store = self._locations[name]
            for prefix in (f"customers/{tenant}/", f"parts/{tenant}/"):
                async for found in store.walk(prefix):
                    objects[name, found.path] = found
            leftovers = [leftover async for leftover in store.leftovers(time())]
            known = await self._uploads(tenant, [leftover.upload_id for leftover in leftovers])
            for leftover in leftovers:
                if leftover.upload_id in known:
                    staged[leftover.upload_id] = staged.get(leftover.upload_id, 0) + leftover.size
                elif str(tenant) in leftover.handle:
                    abandoned += leftover.size
        return Listing(objects, sum(staged.values()), abandoned)

    async def _match(self, tenant: UUID, listing: Listing, rows: Sequence[Lying]) -> Objects:
        sizes = {place: found.size for place, found in listing.found.items()}
        doubted = [row for row in rows if sizes.get((row.location, row.path)) != row.size]
        sizes |= await self._look_again(tenant, doubted)
        kinds: dict[Kind, Amount] = {}
        missing = []
        for row in rows:
            size = sizes.get((row.location, row.path))
            if size is not None:
                kinds[row.kind] = kinds.get(row.kind, NOTHING) + Amount(size, 1)
            if size != row.size:
                missing.append(row.path)
        live = {(row.location, row.path) for row in rows}
        ownerless = await self._ownerless(tenant, {p: found for p, found in listing.found.items() if p not in live})
        lost = await self._lost(tenant, [found.path for found in ownerless])
        old = time() - self._settled_after
        orphans = sum(found.size for found in ownerless if found.modified < old)
        return Objects(kinds, sorted(missing)[:NAMED], orphans, lost)

    async def _look_again(self, tenant: UUID, rows: Sequence[Lying]) -> dict[Place, int]:
        """Stored since the listing, or lying elsewhere. What was deleted since the rows were read was there then."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def stat(row: Lying) -> int | None:
            async with gate:
                found = await self._locations[row.location].stat(row.path)
            return None if found is None else found.size

        sizes = await asyncio.gather(*(stat(row) for row in rows))
        found = {(row.location, row.path): size for row, size in zip(rows, sizes, strict=True)}
        for row in rows:
            place = row.location, row.path
            if found[place] == row.size:
                continue
            async with self._database.transaction(tenant) as connection:
                if not await findings.is_wanted(connection, row.location, row.path, row.size):
                    found[place] = row.size
        return {place: size for place, size in found.items() if size is not None}

    async def _ownerless(self, tenant: UUID, objects: Mapping[Place, Found]) -> list[Found]:
        """Of no upload under way, no file stored since, not on their way to be removed, and still there."""
        left: list[Found] = []
        for name in {name for name, _ in objects}:
            paths = [path for location, path in objects if location == name]
            async with self._database.transaction(tenant) as connection:
                uploads = [upload for path in paths if (upload := upload_of(path)) is not None]
                busy = await findings.busy(connection, uploads)
                owned = await findings.owned(connection, name, paths)
            nobodys = [path for path in paths if path not in owned and upload_of(path) not in busy]
            left += [objects[name, path] for path in nobodys if await self._locations[name].stat(path) is not None]
        return left

    async def _lost(self, tenant: UUID, paths: list[str]) -> dict[Kind, Amount]:
        if not paths:
            return {}
        async with self._database.transaction(tenant) as connection:
            return await sum_lost(connection, tenant, paths)

    async def _uploads(self, tenant: UUID, ids: list[UUID]) -> set[UUID]:
        if not ids:
            return set()
        async with self._database.transaction(tenant) as connection:
            return await list_uploads(connection, tenant, ids)
