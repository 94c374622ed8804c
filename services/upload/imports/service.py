"""Objects that were there before us become a tenant's files, and stay where they are (S0.8)."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from services.upload.blobs.digest import Digest
from services.upload.blobs.locations import Locations
from services.upload.blobs.parts import READY
from services.upload.blobs.store import Found
from services.upload.errors import InvalidUpload
from services.upload.files.rules import Tree, check_place
from services.upload.imports import repository
from services.upload.imports.rules import Named, check_owner, named
from services.upload.media import rules as media
from services.upload.quota.changes import Change
from services.upload.quota.rules import Settle
from services.upload.quota.service import AccountService
from shared import faults
from shared.clock import Clock
from shared.db import Database
from shared.errors import DomainError
from shared.events import FileStored
from shared.ids import new_id

log = logging.getLogger(__name__)

NAME = "import"
PAGE = 200
AT_ONCE = 4
SKIPPED = 100  # named in the result; the log names all


@dataclass(frozen=True, slots=True)
class Source:
    """Everything below `prefix` of a location becomes files of one category. `enforce`: it ends where the plan does;
    without it everything is counted, even above the plan. `dry`: says what would happen, and reads no byte.
    """

    tenant: UUID
    location: str
    prefix: str
    category: str
    enforce: bool
    dry: bool = False


@dataclass(slots=True)
class Adopted:
    """`known` were adopted before; `skipped`: why, by path; `full`: bytes that did not fit when it ended."""

    files: int = 0
    bytes: int = 0
    known: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    full: int | None = None


class Importer:
    """May be run again, at any time: what is adopted already is passed over."""

    def __init__(
        self, database: Database, locations: Locations, accounts: AccountService, tree: Tree, clock: Clock
    ) -> None:
        self._database = database
        self._locations = locations
        self._accounts = accounts
        self._tree = tree
        self._clock = clock

    async def setup_storage_usage_tracking(
        self, source: Source, tell: Callable[[Adopted], None] = lambda _: None
    ) -> dict[str, Any]:
        """Raises LocationUnknown, InvalidUpload for the category, EntitlementsUnknown."""
        check_place(self._tree, source.category, None, None)
        store, done, page = self._locations[source.location], Adopted(), []
        room = (await self._accounts.state(source.tenant)).available
        async for found in store.walk(source.prefix):
            if found.path == READY:
                continue  # our own, in every bucket
            page.append(found)
            if len(page) == PAGE:
                await self._adopt_page(source, page, done, room)
                tell(done)
                page = []
            if done.full is not None:
                break
        else:
            await self._adopt_page(source, page, done, room)
        tell(done)
        return {
            "files": done.files,
            "bytes": done.bytes,
            "known": done.known,
            "skipped": dict(list(done.skipped.items())[:SKIPPED]),
            "full": done.full,
        }

    async def _adopt_page(self, source: Source, page: Sequence[Found], done: Adopted, room: int | None) -> None:
        async with self._database.transaction() as connection:
            known = await repository.list_known(connection, source.location, [found.path for found in page])
        done.known += len(known)
        left = [found for found in page if found.path not in known]
        for start in range(0, len(left), AT_ONCE):
            # The quota is asked in the order of the listing: nothing is adopted behind the file that did not fit.
            group = left[start : start + AT_ONCE]
            for found, digest in zip(group, await self._read(source, group), strict=True):
                if done.full is None:
                    await self._adopt(source, found, digest, done, room)

    async def _read(self, source: Source, group: Sequence[Found]) -> list[Digest | BaseException | None]:
        if source.dry:
            return [None] * len(group)
        store = self._locations[source.location]
        reads = (Digest.of(store.read(found.path, 0, found.size)) for found in group)
        return await asyncio.gather(*reads, return_exceptions=True)

    async def _adopt(
        self, source: Source, found: Found, digest: Digest | BaseException | None, done: Adopted, room: int | None
    ) -> None:
        try:
            check_owner(found.path, source.tenant)
            place = named(found.path, source.prefix)
            if isinstance(digest, BaseException):
                raise digest
            if digest is None:
                if source.enforce and room is not None and done.bytes + found.size > room:
                    done.full = found.size
                    return
            elif not await self._settle(source, found, place, digest):
                done.full = digest.size
                return
        except (InvalidUpload, OSError) as error:
            log.warning("%s is not adopted: %s", found.path, error)
            done.skipped[found.path] = str(error) or type(error).__name__
        except asyncpg.UniqueViolationError:
            done.known += 1  # another import was quicker
        else:
            done.files += 1
            done.bytes += found.size

    async def _settle(self, source: Source, found: Found, place: Named, digest: Digest) -> bool:
        """False when it does not fit."""
        kind = media.media_type(digest.head, place.declared)
        file = FileStored(
            tenant_id=source.tenant,
            file_id=new_id(),
            path=found.path,
            name=place.name,
            size=digest.size,
            content_type=kind,
            file_type=media.file_type(kind),
            category=source.category,
            subcategory=None,
            entity_id=None,
            folder=place.folder,
            project_id=None,
            sha256=digest.sha256,
            uploaded_by=None,
            stored_at=self._clock.now(),
        )
        change = Change(
            Settle(file.file_id, file.size, force=not source.enforce),
            file=file,
            metadata={"adopted": True, "modified": found.modified},
            location=source.location,
        )
        result = await self._accounts.submit(source.tenant, change)
        faults.reach("upload.adopted")
        if not result.ok and result.refused != "bytes":
            raise DomainError("import_refused", 409, f"{found.path} was refused: {result.refused}")
        return result.ok
