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
from services.upload.entitlements.terms import Terms
from services.upload.errors import FileTooLarge, InvalidUpload, TypeMismatch, TypeNotAllowed
from services.upload.files.rules import check_place
from services.upload.imports import repository
from services.upload.imports.rules import check_owner, is_text, placed, printable
from services.upload.intake.acceptance import Acceptance, Purpose, Refused, Sender
from services.upload.intake.intake import Intake
from services.upload.intake.placement import Placement
from services.upload.quota.service import AccountService
from shared import faults
from shared.db import Database
from shared.ids import new_id

log = logging.getLogger(__name__)

NAME = "import"
PAGE = 200
AT_ONCE = 4
SKIPPED = 100  # named in the result; the log names all

# What is passed over and said; anything else ends the import.
PASSED_OVER = (InvalidUpload, FileTooLarge, TypeNotAllowed, TypeMismatch, OSError)


@dataclass(frozen=True, slots=True)
class Source:
    """Everything below `prefix` of a location becomes files of one category. `enforce`: it ends where the plan does;
    without it everything is counted, even above the plan. `dry`: says what would happen, and reads no byte, so that
    it knows nothing of what the bytes will be refused for.
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


@dataclass(frozen=True, slots=True)
class _Read:
    """What may be adopted as far as it has been looked at; without a `digest` nothing was read."""

    placement: Placement
    terms: Terms
    digest: Digest | None


class Importer:
    """May be run again, at any time: what is adopted already is passed over."""

    def __init__(
        self,
        database: Database,
        locations: Locations,
        accounts: AccountService,
        intake: Intake,
        acceptance: Acceptance,
    ) -> None:
        self._database = database
        self._locations = locations
        self._accounts = accounts
        self._intake = intake
        self._acceptance = acceptance

    async def setup_storage_usage_tracking(
        self, source: Source, tell: Callable[[Adopted], None] = lambda _: None
    ) -> dict[str, Any]:
        """Raises LocationUnknown, InvalidUpload for the category, EntitlementsUnknown, TenantGone."""
        check_place(self._intake.policy.tree, source.category, None, None)
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
        paths = [found.path for found in page if is_text(found.path)]
        async with self._database.transaction() as connection:
            known = await repository.list_known(connection, source.location, paths)
        done.known += len(known)
        left = [found for found in page if found.path not in known]
        for start in range(0, len(left), AT_ONCE):
            # The quota is asked in the order of the listing: nothing is adopted behind the file that did not fit.
            group = left[start : start + AT_ONCE]
            reads = await asyncio.gather(*(self._read(source, found) for found in group), return_exceptions=True)
            for found, read in zip(group, reads, strict=True):
                if done.full is None:
                    await self._adopt(source, found, read, done, room)

    async def _read(self, source: Source, found: Found) -> _Read:
        """Raises InvalidUpload, FileTooLarge, OSError."""
        check_owner(found.path, source.tenant)
        placement = placed(found.path, source.prefix, source.category, {"adopted": True, "modified": found.modified})
        terms = await self._intake.terms(source.tenant, found.size, resumable=True)
        if source.dry:
            return _Read(placement, terms, None)
        content = self._locations[source.location].read(found.path, 0, found.size)
        return _Read(placement, terms, await Digest.of(content))

    async def _adopt(
        self, source: Source, found: Found, read: _Read | BaseException, done: Adopted, room: int | None
    ) -> None:
        try:
            if isinstance(read, BaseException):
                raise read
            if not await self._fits(source, found, read, done, room):
                done.full = found.size
                return
        except PASSED_OVER as error:
            path = printable(found.path)
            log.warning("%s is not adopted: %s", path, error)
            done.skipped[path] = str(error) or type(error).__name__
        except asyncpg.UniqueViolationError:
            done.known += 1  # another import was quicker
        else:
            done.files += 1
            done.bytes += found.size

    async def _fits(self, source: Source, found: Found, read: _Read, done: Adopted, room: int | None) -> bool:
        """Then it is adopted. Raises TypeNotAllowed, TypeMismatch."""
        if read.digest is None:
            return not source.enforce or room is None or done.bytes + found.size <= room
        sender, placement = Sender(source.tenant, None), read.placement
        file = self._acceptance.describe(sender, read.terms, new_id(), placement, found.path, read.digest)
        purpose = Purpose(force=not source.enforce)
        try:
            await self._acceptance.settle(file, placement.metadata, purpose, source.location)
        except Refused:
            return False
        faults.reach("upload.adopted")
        return True
