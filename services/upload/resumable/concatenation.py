"""Uploads made of others: their bytes one after the other, and the space they hold between them."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID, uuid5

from services.upload.blobs.locations import Locations
from services.upload.intake.acceptance import Purpose, Sender
from services.upload.intake.incoming import Incoming
from services.upload.intake.intake import Intake
from services.upload.intake.stripped import check_strippable
from services.upload.resumable import repository
from services.upload.resumable.errors import InvalidHeader, UploadNotFound
from services.upload.resumable.models import ResumableUpload, part_path
from services.upload.resumable.progress import Progress
from services.upload.resumable.rules import Concat, Creation
from services.upload.resumable.service import ResumableService
from services.upload.resumable.session import Sessions
from services.upload.resumable.turns import Turns
from shared import faults
from shared.clock import Clock
from shared.db import Database
from shared.errors import DomainError


class ConcatenationService:
    """The id of a concatenation follows from its parts, so that a client that got no answer may ask again."""

    def __init__(
        self,
        database: Database,
        intake: Intake,
        locations: Locations,
        sessions: Sessions,
        uploads: ResumableService,
        turns: Turns,
        clock: Clock,
    ) -> None:
        self._database = database
        self._intake = intake
        self._locations = locations
        self._sessions = sessions
        self._uploads = uploads
        self._turns = turns
        self._clock = clock

    async def concatenate(
        self, sender: Sender, creation: Creation, concat: Concat, stopping: asyncio.Event
    ) -> Progress:
        """Raises UploadNotFound for a part that is not there or another tenant's, InvalidHeader for one that is no
        part or not finished, InvalidUpload; FileTooLarge, TypeNotAllowed and the like end the parts, too.
        """
        placement = self._sessions.placement(creation.said)
        final = _final_id(sender.tenant, concat)
        try:
            async with AsyncExitStack() as stack:
                # In one order, or two requests with the same parts would wait for each other.
                for part_id in sorted(concat.parts):
                    turn = self._turns.take(sender.tenant, part_id, stopping, ends_others=False)
                    await stack.enter_async_context(turn)
                parts = await self._parts(sender.tenant, concat)
                if placement.strip_location:
                    # The parts wait: they can still be put together as they are.
                    check_strippable(sum(part.upload_offset for part in parts))
                upload = await self._join_or_end(sender, creation, concat, final, parts)
        except UploadNotFound:
            done = await self._uploads.progress(sender.tenant, final, stopping)
            if done.file is None:
                raise
            return done
        for part in parts:
            await self._locations[part.location].delete(part_path(part.tenant_id, part.id))
        return Progress.of(upload)

    async def _parts(self, tenant: UUID, concat: Concat) -> list[ResumableUpload]:
        async with self._database.transaction(tenant) as connection:
            found = [await repository.find(connection, part) for part in concat.parts]
        parts = [part for part in found if part is not None]
        if len(parts) < len(found):
            raise UploadNotFound
        if not all(part.partial for part in parts):
            raise InvalidHeader("upload_not_partial", "Only uploads that began as partial ones can be parts.")
        if not all(part.finished for part in parts):
            raise InvalidHeader("upload_unfinished", "A part is not finished.")
        return parts

    async def _join_or_end(
        self, sender: Sender, creation: Creation, concat: Concat, final: UUID, parts: Sequence[ResumableUpload]
    ) -> ResumableUpload:
        """A refusal that stands ends the parts, as the last piece of an ordinary upload ends that: nothing else would
        give their space back before they expire.
        """
        try:
            return await self._join(sender, creation, concat, final, parts)
        except DomainError as error:
            if error.status < 500:
                for part in parts:
                    await self._sessions.remove(part)
            raise

    async def _join(
        self, sender: Sender, creation: Creation, concat: Concat, final: UUID, parts: Sequence[ResumableUpload]
    ) -> ResumableUpload:
        length = sum(part.upload_offset for part in parts)
        terms = await self._intake.terms(sender.tenant, length, resumable=True)
        upload = ResumableUpload(
            id=final,
            tenant_id=sender.tenant,
            user_id=sender.user,
            location=terms.location,
            length=length,
            said=creation.said,
            concat=concat.said,
            expires_at=self._clock.now() + self._sessions.lifetime,
        )
        if await self._sessions.is_file(sender.tenant, final):
            await self._sessions.drop_part(upload)
        else:
            await self._store(upload, parts)
        upload.upload_offset, upload.finished = length, True
        async with self._database.transaction(sender.tenant) as connection:
            await repository.insert(connection, upload)
            await repository.delete(connection, concat.parts)
        return upload

    async def _store(self, upload: ResumableUpload, parts: Sequence[ResumableUpload]) -> None:
        """The parts' reservations become the file's in the very commit that makes it one."""
        incoming = await self._sessions.open(upload)
        done = False
        try:
            if incoming.received != upload.length:
                await self._copy(incoming, parts)
            takes = tuple(part.id for part in parts)
            await self._sessions.store(upload, incoming, Purpose(takes=takes))
            done = True
        finally:
            if not done:
                await asyncio.shield(asyncio.ensure_future(incoming.writer.abort()))
        faults.reach("upload.joined")

    async def _copy(self, incoming: Incoming, parts: Sequence[ResumableUpload]) -> None:
        for part in parts:
            store = self._locations[part.location]
            async for piece in store.read(part_path(part.tenant_id, part.id), 0, part.upload_offset):
                await incoming.write(piece)


def _final_id(tenant: UUID, concat: Concat) -> UUID:
    return uuid5(tenant, " ".join(map(str, concat.parts)))
