"""Uploads in pieces begun: with nothing, with their first bytes, or with all of them at once."""

import asyncio
from uuid import UUID

from services.upload.intake.acceptance import Purpose, Sender
from services.upload.intake.incoming import Incoming
from services.upload.intake.intake import Asked, Intake
from services.upload.intake.placement import Placement
from services.upload.intake.stripped import check_strippable, strippable
from services.upload.resumable import repository
from services.upload.resumable.models import ResumableUpload, part_path
from services.upload.resumable.progress import Progress
from services.upload.resumable.receiving import receive_checked
from services.upload.resumable.rules import Creation
from services.upload.resumable.service import ResumableService
from services.upload.resumable.session import Sessions
from shared.clock import Clock
from shared.db import Database
from shared.http import Body
from shared.ids import new_id


class CreationService:
    """An upload of which nothing has come yet lives as long as any other reservation; its first bytes prolong it.

    A client that got no answer does not know the address: so a creation that fails leaves nothing.
    """

    def __init__(
        self, database: Database, intake: Intake, sessions: Sessions, uploads: ResumableService, clock: Clock
    ) -> None:
        self._database = database
        self._intake = intake
        self._sessions = sessions
        self._uploads = uploads
        self._clock = clock

    async def create(self, sender: Sender, creation: Creation, body: Body, stopping: asyncio.Event) -> Progress:
        """Raises InvalidUpload, FileTooLarge, QuotaExceeded, and with a body what appending raises. A photo that is to
        lose its location waits for that as a part waits for the others.
        """
        placement = None if creation.partial else self._sessions.placement(creation.said)
        if placement is not None and placement.strip_location:
            check_strippable(creation.length or creation.body.length or 0)
            placement = None
        if creation.body.empty and creation.length != 0:
            return await self._begin(sender, creation)
        return await self._begin_with(sender, creation, placement, body, stopping)

    async def _begin(self, sender: Sender, creation: Creation) -> Progress:
        terms = await self._intake.terms(sender.tenant, creation.length or 0, resumable=True)
        upload = self._upload(sender, creation, new_id(), terms.location)
        space = self._intake.space(sender, upload.id)
        await space.reserve(creation.length or 0)
        try:
            await self._insert(upload)
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(space.release()))
            raise
        return Progress.of(upload)

    async def _begin_with(
        self,
        sender: Sender,
        creation: Creation,
        placement: Placement | None,
        body: Body,
        stopping: asyncio.Event,
    ) -> Progress:
        upload_id = new_id()
        path = placement.path(sender.tenant, upload_id) if placement else part_path(sender.tenant, upload_id)
        incoming = await self._intake.begin(sender, _asked(creation, path), upload_id)
        if creation.length is not None:
            incoming.limit = creation.length
        elif not creation.partial and placement is None:
            incoming.limit = strippable(incoming.limit)
        done = False
        try:
            await _receive(incoming, creation, body)
            if placement is not None and incoming.received == creation.length:
                await incoming.store(placement, Purpose())
                done = True
                return Progress(incoming.id, incoming.received, incoming.received, creation.said, file=incoming.id)
            upload = await self._keep(sender, creation, incoming)
            done = True
        finally:
            if not done:
                # Also when this task is cancelled: what was begun is undone before anything else.
                await asyncio.shield(asyncio.ensure_future(incoming.abandon()))
        if upload.whole:
            return await self._uploads.progress(sender.tenant, upload.id, stopping)
        return Progress.of(upload)

    async def _keep(self, sender: Sender, creation: Creation, incoming: Incoming) -> ResumableUpload:
        """The first bytes of an upload that goes on in other requests."""
        upload = self._upload(sender, creation, incoming.id, incoming.location)
        upload.state = await incoming.writer.checkpoint()
        upload.upload_offset = incoming.received
        await incoming.writer.suspend()
        await incoming.space.renew()
        await self._insert(upload)
        return upload

    def _upload(self, sender: Sender, creation: Creation, upload_id: UUID, location: str) -> ResumableUpload:
        return ResumableUpload(
            id=upload_id,
            tenant_id=sender.tenant,
            user_id=sender.user,
            location=location,
            length=creation.length,
            said=creation.said,
            concat=creation.concat.said if creation.concat else None,
            expires_at=self._clock.now() + self._intake.policy.lifetime,
        )

    async def _insert(self, upload: ResumableUpload) -> None:
        async with self._database.transaction(upload.tenant_id) as connection:
            await repository.insert(connection, upload)


def _asked(creation: Creation, path: str) -> Asked:
    """Small and whole, it is judged when it is here; anything else asks for its space first."""
    least = creation.length if creation.length is not None else creation.body.length or 0
    whole = creation.length is not None and creation.length == creation.body.length and not creation.partial
    return Asked(least, creation.length if whole else None, path=path, resumable=True)


async def _receive(incoming: Incoming, creation: Creation, body: Body) -> None:
    if creation.body.checksum is not None:
        await receive_checked(incoming, body, creation.body.checksum)
        return
    async for piece in body:
        await incoming.write(piece)
        await incoming.drain(body)
        await incoming.space.prolong()
