"""A file as the body of a PUT. It takes the place of the file at its address, if there is one."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from services.upload.errors import PreconditionFailed
from services.upload.files import repository
from services.upload.files.models import StoredFile
from services.upload.intake.acceptance import Purpose, Repeated, Sender, Stored
from services.upload.intake.incoming import Incoming
from services.upload.intake.intake import Asked, Intake
from services.upload.intake.placement import Placement
from services.upload.intake.stripped import Stripped, check_strippable
from services.upload.raw.rules import Wanted
from shared.db import Database
from shared.http import Body
from shared.ids import new_id


@dataclass(frozen=True, slots=True)
class Announced:
    """What is known before the body: `length` in bytes if it is said, `sha256` in hex if it is."""

    placement: Placement
    wanted: Wanted
    length: int | None = None
    sha256: str | None = None
    idempotency_key: str | None = None


class RawUpload:
    """`receive` ends in a stored file or leaves nothing."""

    def __init__(self, incoming: Incoming | Stripped, announced: Announced) -> None:
        self._incoming = incoming
        self._announced = announced

    async def receive(self, body: Body) -> Stored | Repeated:
        """Raises FileTooLarge, QuotaExceeded, ClientGone, RequestTimeout, TypeNotAllowed, TypeMismatch, DigestMismatch,
        PreconditionFailed, ReservationLost.
        """
        result: Stored | Repeated | None = None
        try:
            async for chunk in body:
                await self._incoming.write(chunk, self._announced.length)
                await self._incoming.drain(body, self._announced.length)
                await self._incoming.space.prolong()
            result = await self._incoming.store(self._announced.placement, self._purpose())
            return result
        finally:
            if not isinstance(result, Stored):
                # Also when this task is cancelled: what was begun is undone before anything else.
                await asyncio.shield(asyncio.ensure_future(self._incoming.abandon()))

    def _purpose(self) -> Purpose:
        wanted = self._announced.wanted
        return Purpose(
            key=self._announced.idempotency_key,
            exclusive=True,
            vacant=wanted.vacant,
            condition=wanted.met_by if wanted.present else None,
            sha256=self._announced.sha256,
        )


class RawService:
    def __init__(self, database: Database, intake: Intake) -> None:
        self._database = database
        self._intake = intake

    async def begin(self, sender: Sender, announced: Announced) -> RawUpload:
        """On what is said in advance alone. Raises FileTooLarge, QuotaExceeded, PreconditionFailed,
        EntitlementsUnknown.
        """
        there = await self._find(sender.tenant, announced.placement)
        # Asked again when the file settles; asked here, a refusal costs no body.
        if not announced.wanted.met_by(None if there is None else {"sha256": there.sha256}):
            raise PreconditionFailed
        credit = 0 if there is None else await self._intake.credit(sender.tenant, there.size)
        upload, length = new_id(), announced.length
        if announced.placement.strip_location:
            check_strippable(length or 0)
        path = announced.placement.path(sender.tenant, upload)
        incoming = await self._intake.begin(sender, Asked(length or 0, length, credit, path=path), upload)
        if announced.placement.strip_location:
            return RawUpload(Stripped(incoming, self._intake.spool), announced)
        return RawUpload(incoming, announced)

    async def _find(self, tenant: UUID, placement: Placement) -> StoredFile | None:
        async with self._database.transaction(tenant) as connection:
            return await repository.find_by_place(connection, placement.category, placement.folder, placement.name)
