"""Direct uploads from the offer to the end: the client talks to the store, we count before and after."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from services.upload.direct import repository, rules
from services.upload.direct.completion import Completion, Said
from services.upload.direct.errors import (
    BackendUnsupported,
    CompletionInProgress,
    DirectUploadEnded,
    DirectUploadNotFound,
    NotInParts,
    RefusedBefore,
)
from services.upload.direct.models import DirectUpload
from services.upload.direct.offers import Offer, Offers, Wanted
from services.upload.direct.reservation import Reservations
from services.upload.direct.rules import Part
from services.upload.entitlements.terms import Terms
from services.upload.files import repository as files
from services.upload.files.models import StoredFile
from services.upload.intake.acceptance import Sender
from services.upload.intake.intake import Intake
from services.upload.intake.placement import Placement
from services.upload.intake.stripped import check_strippable
from services.upload.media import rules as media
from shared.clock import Clock
from shared.db import Database
from shared.ids import new_id

PATIENCE = 25.0  # seconds a request waits for a completion before it says "still at it"
LOOK = 0.1  # seconds between two looks at a completion that somebody else runs
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Announced:
    """What is to come. `size` in bytes, None if nobody knows; `lifetime` of the offer in seconds."""

    placement: Placement
    size: int | None
    sha256: str | None = None
    in_parts: bool = False
    lifetime: int | None = None
    collects: bool = False
    origin: str | None = None


class DirectUploadService:
    """`offers` by the name of the store's location."""

    def __init__(
        self,
        database: Database,
        intake: Intake,
        completion: Completion,
        reservations: Reservations,
        offers: Mapping[str, Offers],
        clock: Clock,
    ) -> None:
        self._database = database
        self._intake = intake
        self._completion = completion
        self._reservations = reservations
        self._offers = offers
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    async def open(self, sender: Sender, announced: Announced) -> tuple[DirectUpload, Offer]:
        """Raises TypeNotAllowed, FileTooLarge, QuotaExceeded, EntitlementsUnknown, BackendUnsupported; then nothing
        was begun.
        """
        if announced.placement.strip_location:
            check_strippable(announced.size or 0)
        terms = await self._intake.terms(sender.tenant, announced.size or 0, resumable=True)
        self._check_type(terms, announced.placement.declared)
        offers = self._offers_of(terms.location)
        upload = self._prepare(sender, terms, announced)
        await self._reservations.of(upload).reserve(announced.size or 0)
        try:
            return await self._begin(offers, upload, announced)
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(self._reservations.release(upload)))
            raise

    async def get(self, tenant: UUID, upload_id: UUID) -> DirectUpload:
        """Raises DirectUploadNotFound."""
        async with self._database.transaction(tenant) as connection:
            upload = await repository.find(connection, upload_id)
        if upload is None:
            raise DirectUploadNotFound
        return upload

    async def part_urls(self, tenant: UUID, upload_id: UUID, numbers: Sequence[int]) -> tuple[DirectUpload, list[str]]:
        """A sign of life too. Raises NotInParts, DirectUploadEnded, QuotaExceeded."""
        upload = await self._prolong(tenant, upload_id)
        most = rules.PARTS
        if upload.size is not None and upload.part_size is not None:
            # The client may cut smaller parts than advised, but not smaller than a store takes.
            most = min(rules.PARTS, rules.part_count(upload.size, rules.LEAST_PART))
        rules.check_numbers(numbers, most)
        if upload.size is None:
            await self._expect(upload, numbers)
        offers = self._offers_of(upload.location)
        return upload, [offers.part_url(upload, number, upload.expires_at) for number in numbers]

    async def parts(self, tenant: UUID, upload_id: UUID) -> list[Part]:
        """What has arrived, by number. Raises NotInParts, DirectUploadEnded."""
        upload = await self._prolong(tenant, upload_id)
        return await self._offers_of(upload.location).arrived(upload) or []

    async def complete(self, tenant: UUID, upload_id: UUID, said: Said) -> StoredFile:
        """The file, however often it is asked for. Raises what refused it, NotUploaded, PartsMissing …, or
        CompletionInProgress when it takes long: it goes on all the same.
        """
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            claimed = await self._claim(tenant, upload_id)
            if claimed is not None:
                await self._finish(claimed, said, deadline)
            file = await self._outcome(tenant, upload_id)
            if file is not None:
                return file
            if asyncio.get_running_loop().time() > deadline:
                raise CompletionInProgress
            await asyncio.sleep(LOOK)

    async def collect(self, upload: DirectUpload) -> bool:
        """Completes an upload whose client will not say that it is done. False while nothing is there."""
        offers = self._offers.get(upload.location)
        if offers is None or not await self._completion.is_there(upload):
            return False
        claimed = await self._claim(upload.tenant_id, upload.id)
        if claimed is not None:
            await self._completion.run(claimed, Said())
        return claimed is not None

    async def abort(self, tenant: UUID, upload_id: UUID) -> None:
        """Aborting what is aborted does nothing. Raises DirectUploadNotFound, DirectUploadEnded."""
        async with self._database.transaction(tenant) as connection:
            # Who stored it may have died before that was noted.
            stored = await files.find(connection, upload_id) is not None
            aborted = not stored and await repository.abort(connection, upload_id)
        upload = await self.get(tenant, upload_id)
        if aborted:
            await self._completion.discard(upload)
        elif stored or upload.state in ("stored", "completing"):
            raise DirectUploadEnded("stored" if stored else upload.state)

    async def close(self) -> None:
        """Completions under way are given up: their uploads stay open."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for offers in self._offers.values():
            await offers.close()

    def _check_type(self, terms: Terms, declared: str | None) -> None:
        """What calls itself just bytes is judged when it is there."""
        kind = (declared or BYTES).split(";")[0].strip().lower()
        if kind == BYTES:
            return
        media.check_type(kind, self._intake.policy.allowed)
        if terms.allowed is not None:
            media.check_type(kind, terms.allowed or frozenset({"nothing/at-all"}))

    def _offers_of(self, location: str) -> Offers:
        found = self._offers.get(location)
        if found is None:
            raise BackendUnsupported("The store takes no direct uploads.")
        return found

    def _prepare(self, sender: Sender, terms: Terms, announced: Announced) -> DirectUpload:
        upload, placement = new_id(), announced.placement
        path = placement.path(sender.tenant, upload)
        lifetime = announced.lifetime or int(self._intake.policy.lifetime.total_seconds())
        return DirectUpload(
            id=upload,
            tenant_id=sender.tenant,
            user_id=sender.user,
            size=announced.size,
            sha256=announced.sha256,
            place=placement_row(placement),
            location=terms.location,
            staged=path,
            path=path,
            backend={},
            part_size=None,
            collects=announced.collects,
            lifetime=lifetime,
            expires_at=repository.expiry(self._clock.now(), lifetime),
        )

    async def _begin(self, offers: Offers, upload: DirectUpload, announced: Announced) -> tuple[DirectUpload, Offer]:
        wanted = Wanted(
            upload=upload.id,
            tenant=upload.tenant_id,
            path=upload.path,
            size=upload.size,
            content_type=announced.placement.declared or BYTES,
            until=upload.expires_at,
            in_parts=announced.in_parts or (upload.size is not None and upload.size > rules.WHOLE),
            rewritten=announced.placement.strip_location,
            origin=announced.origin,
        )
        offer = await offers.begin(wanted)
        upload.staged, upload.backend, upload.part_size = offer.staged, dict(offer.backend), offer.part_size
        try:
            async with self._database.transaction(upload.tenant_id) as connection:
                await repository.insert(connection, upload)
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(offers.abort(upload)))
            raise
        return upload, offer

    async def _prolong(self, tenant: UUID, upload_id: UUID) -> DirectUpload:
        if not (await self.get(tenant, upload_id)).in_parts:
            raise NotInParts
        async with self._database.transaction(tenant) as connection:
            upload = await repository.prolong(connection, upload_id)
        if upload is None:
            raise DirectUploadEnded((await self.get(tenant, upload_id)).state)
        await self._reservations.prolong(upload)
        return upload

    async def _expect(self, upload: DirectUpload, numbers: Sequence[int]) -> None:
        """Nobody said how many bytes: held is what has come and these parts, or at the least room for a byte of them.
        One that comes again takes the place of the first.
        """
        arrived = await self._offers_of(upload.location).arrived(upload) or []
        here = sum(part.size for part in arrived if part.number not in numbers)
        least, likely = here + len(numbers), here + len(numbers) * rules.likely_part(arrived)
        if upload.placement.strip_location:
            check_strippable(least)
        await self._intake.terms(upload.tenant_id, least, resumable=True)
        await self._reservations.of(upload).cover(least, likely)

    async def _claim(self, tenant: UUID, upload_id: UUID) -> DirectUpload | None:
        async with self._database.transaction(tenant) as connection:
            return await repository.claim(connection, upload_id)

    async def _finish(self, claimed: DirectUpload, said: Said, deadline: float) -> None:
        """Goes on by itself when its client leaves or loses patience."""
        task = asyncio.create_task(self._completion.run(claimed, said))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        left = deadline - asyncio.get_running_loop().time()
        done, _ = await asyncio.wait({task}, timeout=max(left, 0))
        if not done:
            task.add_done_callback(_forget)
            raise CompletionInProgress
        if task.cancelled():
            raise CompletionInProgress
        task.result()

    async def _outcome(self, tenant: UUID, upload_id: UUID) -> StoredFile | None:
        """None while it is open or being completed by somebody else."""
        try:
            upload = await self.get(tenant, upload_id)
        except DirectUploadNotFound:
            upload = None
        if upload is None or upload.state == "stored":
            return await self._file(tenant, upload_id)
        if upload.state == "refused":
            problem = upload.problem or {}
            raise RefusedBefore(problem["code"], problem["status"], problem["detail"], **problem["extras"])
        if upload.state in ("aborted", "expired"):
            raise DirectUploadEnded(upload.state)
        return None

    async def _file(self, tenant: UUID, upload_id: UUID) -> StoredFile:
        """Also while a scanner hides it: its sender has to hear that it is there."""
        async with self._database.transaction(tenant) as connection:
            file = await files.find(connection, upload_id)
        if file is None:
            raise DirectUploadNotFound
        return file


def _forget(task: asyncio.Task[None]) -> None:
    """Nobody waits for it any more; the next request hears of its end."""
    if not task.cancelled():
        task.exception()


def placement_row(placement: Placement) -> dict[str, Any]:
    project = placement.project_id
    return {**asdict(placement), "project_id": None if project is None else str(project)}
