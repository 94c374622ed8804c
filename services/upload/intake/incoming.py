"""One upload whose bytes come through us: counted, stored out of sight, judged, placed and settled."""

from uuid import UUID

from services.upload.blobs.digest import Digest
from services.upload.blobs.store import BlobStore, BlobWriter
from services.upload.entitlements.terms import Terms
from services.upload.errors import FileTooLarge
from services.upload.intake.acceptance import Acceptance, Purpose, Refused, Repeated, Sender, Stored
from services.upload.intake.placement import Placement
from services.upload.intake.space import STEP, Space
from shared import faults
from shared.http import Arrived, Body

DRAINED = 64 * 1024 * 1024  # bytes taken before anybody asks whether to go on


class Incoming:
    """`write` every piece, then `store`; or `abandon`. Nothing half-done is left, whatever happens in between.

    `digest` None: it died with a process, and the bytes are read once more when they have their place.
    """

    def __init__(
        self,
        acceptance: Acceptance,
        sender: Sender,
        upload_id: UUID,
        store: BlobStore,
        writer: BlobWriter,
        digest: Digest | None,
        space: Space,
        terms: Terms,
        *,
        limit: int,
        received: int = 0,
    ) -> None:
        self.id = upload_id
        self.received = received
        self.space = space
        self.writer = writer
        self.limit = limit
        self._acceptance = acceptance
        self._sender = sender
        self._store = store
        self._digest = digest
        self._terms = terms

    def aim(self, placement: Placement) -> None:
        """What is known of the file's place before its first byte spares some stores a copy."""
        self.writer.aim(placement.path(self._sender.tenant, self.id))

    async def write(self, piece: bytes, expected: int | None = None) -> None:
        """`expected`: bytes the file is likely to have in all. Raises FileTooLarge, QuotaExceeded."""
        received = self.received + len(piece)
        if received > self.limit:
            raise FileTooLarge(self.limit)
        likely = received + STEP if expected is None else expected
        await self.space.cover(received, min(likely, self.limit))
        await self.writer.write(piece)
        self.received = received
        faults.reach("upload.streaming")

    async def drain(self, body: Body, expected: int | None = None) -> None:
        """Takes what has arrived of the body past the event loop, where the store can; the rest has to be written."""
        write, most = self.writer.take, min(DRAINED, self.limit - self.received)
        if write is None or not most:
            return

        async def take(arrived: Arrived, size: int) -> int:
            received = self.received + size
            await self.space.cover(received, min(max(received, expected or 0), self.limit))
            return await write(arrived, size)

        self.received += await body.drain(most, take)
        faults.reach("upload.streaming")

    async def store(self, placement: Placement, purpose: Purpose, path: str | None = None) -> Stored | Repeated:
        """`path`: another one than its own. Raises TypeNotAllowed, DigestMismatch, QuotaExceeded, ReservationLost. Then
        `abandon` is due.
        """
        await self.writer.finish()
        path = path or placement.path(self._sender.tenant, self.id)
        digest = self._digest
        if digest is None:
            await self.writer.place(path)
            digest = await Digest.of(self._store.read(path, 0, self.received))
        file = self._acceptance.describe(self._sender, self._terms, self.id, placement, path, digest)
        if self._digest is not None:
            await self.writer.place(path)
        faults.reach("upload.placed")
        try:
            result = await self._acceptance.settle(file, placement.metadata, purpose, self._terms.location)
        except Refused as refused:
            raise self.space.refusal(refused.account, file.size) from None
        if isinstance(result, Stored):
            faults.reach("upload.settled")
        return result

    @property
    def digest(self) -> Digest | None:
        return self._digest

    @property
    def location(self) -> str:
        return self._terms.location

    async def abandon(self) -> None:
        try:
            await self.writer.abort()
        finally:
            await self.space.release()
