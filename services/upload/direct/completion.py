"""The bytes are in the store: looked at, put in the file's place, read once, judged and settled."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.upload.blobs.digest import Digest
from services.upload.blobs.locations import Locations
from services.upload.blobs.store import BlobStore, Found, StoreUnavailable
from services.upload.direct import repository, rules
from services.upload.direct.errors import NotUploaded, PartsChanged, PartsMissing, PartTooSmall, SizeMismatch
from services.upload.direct.models import DirectUpload, State
from services.upload.direct.offers import Offers
from services.upload.direct.reservation import Reservations
from services.upload.direct.rules import Listed
from services.upload.errors import DigestMismatch, ReservationLost
from services.upload.files import repository as files
from services.upload.files.models import StoredFile
from services.upload.intake.acceptance import Acceptance, Purpose, Refused, Sender
from services.upload.intake.intake import Intake
from services.upload.intake.stripped import check_strippable, write_stripped
from shared import faults
from shared.db import Database
from shared.errors import DomainError
from shared.events import FileStored

log = logging.getLogger(__name__)

# After these its client may try again, as after a trouble of ours. After any other refusal nothing of it is kept.
PASSING = (NotUploaded, PartsMissing, PartsChanged, PartTooSmall)
UNSEEN = 10.0  # seconds that parts may be neither parts nor a whole: a store that puts them together hides them
LOOK = 0.2  # seconds between two looks at the store


@dataclass(frozen=True, slots=True)
class Said:
    """What the client says of what it sent: its parts, None for all there are, and the sha256 of the whole, in hex."""

    parts: Sequence[Listed] | None = None
    sha256: str | None = None


class Completion:
    """`run` for an upload that this process has claimed."""

    def __init__(
        self,
        database: Database,
        intake: Intake,
        acceptance: Acceptance,
        reservations: Reservations,
        locations: Locations,
        offers: Mapping[str, Offers],
    ) -> None:
        self._database = database
        self._intake = intake
        self._reservations = reservations
        self._acceptance = acceptance
        self._locations = locations
        self._offers = offers

    async def run(self, upload: DirectUpload, said: Said) -> None:
        """Ends in the state stored or refused; raises what kept it open."""
        try:
            async with self._alive(upload):
                await self._arrive(upload, said.parts)
                await self._store(upload, said.sha256)
        except DomainError as error:
            # An attempt that was taken for dead may have stored it, and cleared away what this one was looking for.
            if await self._find_file(upload) is None:
                if error.status >= 500 or isinstance(error, PASSING):
                    await self._reopen(upload)
                    raise
                # Said before anything goes: who asks after a death in between must not hear that nothing ever came.
                if await self._end(upload, "refused", error):
                    with contextlib.suppress(StoreUnavailable):  # then it goes when the offer expires
                        await self.discard(upload)
                return
        except BaseException:
            await self._reopen(upload)
            raise
        await self._end(upload, "stored")
        await self._unstage(upload)

    async def _reopen(self, upload: DirectUpload) -> None:
        await asyncio.shield(asyncio.ensure_future(self._end(upload, "open")))

    async def _find_file(self, upload: DirectUpload) -> StoredFile | None:
        async with self._database.transaction(upload.tenant_id) as connection:
            return await files.find(connection, upload.id)

    async def _unstage(self, upload: DirectUpload) -> None:
        """What the store does not delete now goes when the offer expires, with what may still come."""
        if upload.staged != self._path(upload):
            with contextlib.suppress(StoreUnavailable):
                await self._locations[upload.location].delete(upload.staged)

    async def is_there(self, upload: DirectUpload) -> bool:
        """Whether bytes of it have arrived as a whole."""
        return await self._locations[upload.location].stat(upload.staged) is not None

    async def discard(self, upload: DirectUpload) -> None:
        """The copy, what is staged, the parts, the space: whatever there is of it."""
        store = self._locations[upload.location]
        await store.delete(self._path(upload))
        await self._offers[upload.location].abort(upload)
        await store.delete(upload.staged)
        await self._reservations.release(upload)

    async def _arrive(self, upload: DirectUpload, listed: Sequence[Listed] | None) -> None:
        """Nothing that is larger than its reservation is put together, let alone copied."""
        offers, store = self._offers[upload.location], self._locations[upload.location]
        arrived = await offers.arrived(upload)
        if arrived is not None:
            chosen = rules.choose(arrived, listed)
            if not chosen:
                raise NotUploaded
            await self._cover(upload, sum(part.size for part in chosen))
            await offers.assemble(upload, chosen)
            faults.reach("direct.assembled")
        found = await store.stat(upload.staged)
        if found is None and upload.in_parts and (arrived is not None or upload.attempt > 1):
            found = await self._assembled(store, upload)
        if found is None:
            # Parts that were there a moment ago are not lost: the store takes its time.
            raise NotUploaded() if arrived is None else StoreUnavailable()
        await self._cover(upload, found.size)

    async def _assembled(self, store: BlobStore, upload: DirectUpload) -> Found | None:
        """The store may still be putting the parts together, for us or for an attempt that has died."""
        until = time.monotonic() + UNSEEN
        while True:
            found = await store.stat(upload.staged)
            if found is not None or time.monotonic() > until:
                return found
            await asyncio.sleep(LOOK)

    async def _store(self, upload: DirectUpload, sha256: str | None) -> None:
        """The copy is what is measured and read: what is staged may be written again at any moment."""
        store, path = self._locations[upload.location], self._path(upload)
        try:
            if upload.placement.strip_location:
                digest = await self._strip(upload, store, path, sha256)
                faults.reach("direct.copied")
            else:
                if path != upload.staged:
                    await self._copy(store, upload.staged, path)
                    faults.reach("direct.copied")
                digest = await self._measure(upload, store, path)
                _check(digest, upload, sha256)
            file = await self._judge(upload, path, digest)
        except BaseException:
            # The next attempt makes a copy of its own, and nobody counts this one.
            await asyncio.shield(asyncio.ensure_future(self._drop_copy(upload)))
            raise
        try:
            # From here on the copy may be the file, whatever else we hear: one that is not is swept as an orphan.
            await self._acceptance.settle(file, upload.placement.metadata, Purpose(), upload.location)
        except Refused:
            raise ReservationLost from None
        faults.reach("direct.settled")
        await self._drop_unused(upload, store, path)

    async def _measure(self, upload: DirectUpload, store: BlobStore, path: str) -> Digest:
        found = await store.stat(path)
        if found is None:
            raise NotUploaded
        await self._cover(upload, found.size)
        return await Digest.of(store.read(path, 0, found.size))

    async def _judge(self, upload: DirectUpload, path: str, digest: Digest) -> FileStored:
        terms = await self._intake.terms(upload.tenant_id, digest.size, resumable=True)
        sender = Sender(upload.tenant_id, upload.user_id)
        file = self._acceptance.describe(sender, terms, upload.id, upload.placement, path, digest)
        if not await self._renew(upload):
            raise asyncio.CancelledError  # given up for dead: what is here may be deleted at any moment
        return file

    async def _strip(self, upload: DirectUpload, store: BlobStore, path: str, sha256: str | None) -> Digest:
        """Of the copy, which is made of what is staged at this moment, and has no location."""
        found = await store.stat(upload.staged)
        if found is None:
            raise NotUploaded
        await self._cover(upload, found.size)
        staged = store.read(upload.staged, 0, found.size)
        try:
            return await write_stripped(staged, store, path, self._intake.spool, (sha256, upload.sha256))
        except FileNotFoundError:
            raise NotUploaded from None

    async def _copy(self, store: BlobStore, staged: str, path: str) -> None:
        try:
            await store.copy(staged, path)
        except FileNotFoundError:
            raise NotUploaded from None

    async def _drop_copy(self, upload: DirectUpload) -> None:
        if upload.staged != self._path(upload):
            with contextlib.suppress(StoreUnavailable):
                await self._locations[upload.location].delete(self._path(upload))

    async def _drop_unused(self, upload: DirectUpload, store: BlobStore, path: str) -> None:
        """An earlier attempt may have settled after it was given up for dead: then its copy is the file."""
        file = await self._find_file(upload)
        if file is not None and file.path != path:
            await store.delete(path)

    async def _cover(self, upload: DirectUpload, size: int) -> None:
        """Raises SizeMismatch; and where no size was announced FileTooLarge, QuotaExceeded."""
        if upload.placement.strip_location:
            check_strippable(size)
        if upload.size is None:
            await self._intake.terms(upload.tenant_id, size, resumable=True)
            await self._reservations.of(upload).reserve(size)
        elif size > upload.size:
            raise SizeMismatch(upload.size, size)

    @asynccontextmanager
    async def _alive(self, upload: DirectUpload) -> AsyncIterator[None]:
        """While a large file is read its lease and its reservation must not run out."""
        signs = asyncio.create_task(self._give_signs(upload, asyncio.current_task()))
        try:
            yield
        finally:
            signs.cancel()

    async def _give_signs(self, upload: DirectUpload, work: asyncio.Task[None] | None) -> None:
        while True:
            await asyncio.sleep(repository.LEASE.total_seconds() / 4)
            try:
                await self._reservations.prolong(upload)
                if await self._renew(upload):
                    continue
            except Exception:
                log.exception("the lease of direct upload %s could not be renewed", upload.id)
                continue
            # So slow that it was given up for dead: somebody else is at it.
            if work is not None:
                work.cancel()
            return

    async def _renew(self, upload: DirectUpload) -> bool:
        async with self._database.transaction(upload.tenant_id) as connection:
            return await repository.renew(connection, upload.id, upload.attempt)

    async def _end(self, upload: DirectUpload, state: State, problem: DomainError | None = None) -> bool:
        """False when somebody else is at it by now."""
        said = (
            None
            if problem is None
            else {
                "code": problem.code,
                "status": problem.status,
                "detail": problem.detail,
                "extras": problem.extras,
            }
        )
        async with self._database.transaction(upload.tenant_id) as connection:
            return await repository.end(connection, upload.id, upload.attempt, state, said)

    def _path(self, upload: DirectUpload) -> str:
        """What has its place already stays there."""
        if upload.staged == upload.path:
            return upload.path
        return rules.attempt_path(upload.path, upload.attempt)


def _check(digest: Digest, upload: DirectUpload, sha256: str | None) -> None:
    if not {sha256, upload.sha256} <= {None, digest.sha256}:
        raise DigestMismatch
