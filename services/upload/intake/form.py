"""A file in a multipart form, as browsers send it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Self
from uuid import UUID

from services.upload.errors import InvalidUpload
from services.upload.intake.acceptance import Purpose, Repeated, Sender, Stored
from services.upload.intake.incoming import Incoming
from services.upload.intake.intake import Asked, Intake
from services.upload.intake.multipart import ENVELOPE, UploadForm
from services.upload.intake.placement import Placement, read_flag
from services.upload.intake.stripped import Stripped
from shared.http import ClientGone


@dataclass(frozen=True, slots=True)
class Announced:
    """What the request's headers say of the body: its length, the file's size, its form, and a key for repeats."""

    length: int | None
    file_size: int | None
    content_type: str | None
    idempotency_key: str | None


class FormUpload:
    """`begin` on the headers alone; `receive` ends in a stored file or leaves nothing."""

    _counted = False

    def __init__(self, intake: Intake, incoming: Incoming, form: UploadForm, announced: Announced) -> None:
        self._incoming: Incoming | Stripped = incoming
        self._form = form
        self._announced = announced
        self._intake = intake

    @classmethod
    async def begin(
        cls,
        intake: Intake,
        sender: Sender,
        announced: Announced,
        month: date | None = None,
        *,
        paid_as: UUID | None = None,
    ) -> Self:
        """`month`: it takes one of that month's images; `paid_as`: under this id credits are held for one above the
        quota. Raises FileTooLarge, QuotaExceeded, NoImageLeft, InvalidUpload, EntitlementsUnknown.
        """
        form = UploadForm(announced.content_type)
        least = announced.file_size
        if least is None:
            # No form is that much larger than its file, so this much will come at the very least.
            least = max(0, (announced.length or 0) - ENVELOPE)
        asked = Asked(least, announced.length, month=month, paid=paid_as is not None)
        return cls(intake, await intake.begin(sender, asked, paid_as), form, announced)

    async def receive(self, body: AsyncIterator[bytes]) -> Stored | Repeated:
        """Raises what `begin` raises, ClientGone, RequestTimeout, TypeNotAllowed, ReservationLost."""
        result: Stored | Repeated | None = None
        try:
            await self._stream(body)
            result = await self._incoming.store(self._placement(), self._purpose())
            return result
        finally:
            if not isinstance(result, Stored):
                # Also when this task is cancelled: what was begun is undone before anything else.
                await asyncio.shield(asyncio.ensure_future(self._incoming.abandon()))

    async def _stream(self, body: AsyncIterator[bytes]) -> None:
        async for chunk in body:
            for piece in self._form.feed(chunk):
                await self._take(piece)
            await self._incoming.space.prolong()
        if not self._form.complete:
            raise ClientGone

    async def _take(self, piece: bytes) -> None:
        if isinstance(self._incoming, Incoming) and self._incoming.received == 0:
            if self._strips():
                self._incoming = Stripped(self._incoming, self._intake.spool)
            else:
                self._aim(self._incoming)
        await self._incoming.write(piece, self._expected())

    def _strips(self) -> bool:
        return read_flag(self._form.text("strip_location"))

    def _aim(self, incoming: Incoming) -> None:
        with contextlib.suppress(InvalidUpload):  # a field that is missing may come after the file
            incoming.aim(self._placement())

    def _expected(self) -> int | None:
        if self._announced.length is None:
            return None
        return self._announced.length - self._form.file_starts - self._form.closing

    def _placement(self) -> Placement:
        part = self._form.file
        if part is None:
            raise InvalidUpload("no_file", "The form has no file.")
        tree = self._intake.policy.tree
        placement = Placement.read(tree, part.name, self._form.text, part.content_type, counted=self._counted)
        if placement.strip_location and self._incoming.received and not isinstance(self._incoming, Stripped):
            raise InvalidUpload("field_after_file", "strip_location comes before the file.")
        return placement

    def _purpose(self) -> Purpose:
        return Purpose(key=self._announced.idempotency_key)
