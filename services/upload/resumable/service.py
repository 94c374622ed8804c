"""Uploads in pieces: asked about, gone on with, ended."""

import asyncio
from uuid import UUID

from services.upload.errors import FileTooLarge
from services.upload.files import repository as files
from services.upload.intake.incoming import Incoming
from services.upload.resumable import repository
from services.upload.resumable.errors import FinalUpload, UploadExpired, UploadFinished, UploadNotFound
from services.upload.resumable.models import ResumableUpload
from services.upload.resumable.progress import Progress
from services.upload.resumable.receiving import receive, receive_checked
from services.upload.resumable.rules import Piece
from services.upload.resumable.session import Sessions
from services.upload.resumable.turns import Turn, Turns
from shared.db import Database
from shared.http import Body


class ResumableService:
    """Raises UploadNotFound, UploadExpired and UploadBusy everywhere."""

    def __init__(self, database: Database, sessions: Sessions, turns: Turns) -> None:
        self._database = database
        self._sessions = sessions
        self._turns = turns

    async def progress(self, tenant: UUID, upload_id: UUID, stopping: asyncio.Event) -> Progress:
        """An upload is never said to be whole before it is a file."""
        async with self._database.transaction(tenant) as connection:
            found = await repository.find(connection, upload_id)
        if found is not None and found.whole and not found.finished:
            await self.settle(tenant, upload_id, stopping)
        elif found is not None:
            return Progress.of(found)
        return await self._progress_since(tenant, upload_id)

    async def append(
        self, tenant: UUID, upload_id: UUID, piece: Piece, body: Body, stopping: asyncio.Event
    ) -> Progress:
        """What comes is kept, also when it ends early; only a checksum that does not hold takes it back.

        Raises WrongOffset, TooMuchData, QuotaExceeded, ChecksumMismatch, Superseded, ClientGone, RequestTimeout.
        """
        try:
            async with self._turns.take(tenant, upload_id, stopping) as turn:
                return await self._append(turn, piece, body)
        except UploadNotFound:
            done = await self._progress_since(tenant, upload_id)
        if done.concat is not None:
            raise FinalUpload
        piece.agree(done.offset, done.length)
        return done

    async def settle(self, tenant: UUID, upload_id: UUID, stopping: asyncio.Event) -> None:
        """A whole upload whose process died, or whose store did not answer, before it was a file."""
        try:
            async with self._turns.take(tenant, upload_id, stopping, ends_others=False) as turn:
                if turn.upload.whole and not turn.upload.finished:
                    await self._sessions.complete(turn, await self._sessions.open(turn.upload))
        except UploadNotFound:
            return  # done meanwhile by whoever had it

    async def terminate(self, tenant: UUID, upload_id: UUID, stopping: asyncio.Event) -> None:
        """Raises UploadFinished for what is a file by now."""
        try:
            async with self._turns.take(tenant, upload_id, stopping) as turn:
                if turn.upload.whole and await self._sessions.is_file(tenant, upload_id):
                    raise UploadFinished
                await self._sessions.remove(turn.upload)
        except UploadNotFound:
            await self._progress_since(tenant, upload_id)
            raise UploadFinished from None

    async def _append(self, turn: Turn, piece: Piece, body: Body) -> Progress:
        upload = turn.upload
        length = piece.agree(upload.upload_offset, upload.length)
        if upload.finished:
            return Progress.of(upload)  # a part, and a repetition of its end
        incoming = await self._sessions.open(upload)
        try:
            await _agree(upload, incoming, piece, length)
            if piece.body.checksum is None:
                await receive(turn, incoming, self._sessions, body)
            else:
                await receive_checked(incoming, turn.pieces(body), piece.body.checksum)
                await self._sessions.save(turn, incoming, release=incoming.received != upload.length)
            if upload.whole:
                await self._sessions.complete(turn, incoming)
        except BaseException:
            # Also when this task is cancelled: what was safe stays, and another request can go on from there.
            await asyncio.shield(asyncio.ensure_future(incoming.writer.suspend()))
            raise
        return Progress.of(upload)

    async def _progress_since(self, tenant: UUID, upload_id: UUID) -> Progress:
        """Of what is not under way any more."""
        async with self._database.transaction(tenant) as connection:
            upload = await repository.find(connection, upload_id, expired=True)
            file = await files.find(connection, upload_id)
        if upload is not None and upload.finished:
            return Progress.of(upload)
        if file is not None:
            return Progress.of_file(file)
        raise UploadNotFound if upload is None else UploadExpired


async def _agree(upload: ResumableUpload, incoming: Incoming, piece: Piece, length: int | None) -> None:
    """Without a length so far, the space is asked for before the bytes come. Raises FileTooLarge, QuotaExceeded."""
    if upload.length is not None:
        return
    least = length if length is not None else incoming.received + (piece.body.length or 0)
    if least > incoming.limit:
        raise FileTooLarge(incoming.limit)
    if least > incoming.received:
        await incoming.space.reserve(least)
    if length is not None:
        upload.length = incoming.limit = length
