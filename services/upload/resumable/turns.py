"""Who may write to an upload: one request at a time, and the newest.

In one process a request ends the one before it directly. Between processes a lease in the upload's row says whose turn
it is: the holder keeps it fresh, notices there that another waits, and writes nothing once it has lost it. A process
that died keeps nobody waiting for longer than its lease stays fresh.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from services.upload.resumable import repository
from services.upload.resumable.errors import Stopping, Superseded, UploadBusy, UploadExpired, UploadNotFound
from services.upload.resumable.models import ResumableUpload
from shared.db import Database
from shared.errors import DomainError

log = logging.getLogger(__name__)

BEAT = 1.0  # seconds between two looks at the lease
LOOK = 0.1  # seconds between two looks at another's
GRACE = 0.2  # seconds for what is on its way already: clients that push each other off would get nowhere without
PATIENCE = 20.0  # seconds a request waits for its turn


class Turn:
    """One request's hold of an upload. `lost`: somebody else has it, and nothing may be written any more."""

    def __init__(self) -> None:
        self.lease = uuid4()
        self.upload: ResumableUpload
        self.lost = False
        self.released = False
        self.over = asyncio.Event()
        self._reason: DomainError | None = None
        self._ended: DomainError | None = None
        self._waiting: asyncio.Task[None] | None = None

    def end(self, reason: DomainError) -> None:
        """Its body ends in a moment. Only the wait for the client is interrupted, never what is being written."""
        if self._reason is None:
            self._reason = reason
            asyncio.get_running_loop().call_later(GRACE, self._interrupt)

    def _interrupt(self) -> None:
        self._ended = self._reason
        if self._waiting is not None:
            self._waiting.cancel()

    async def pieces(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The body, until it ends or is ended. Raises what `end` was told."""
        while True:
            piece = await self._next(body)
            if not piece:
                return
            yield piece

    async def _next(self, body: AsyncIterator[bytes]) -> bytes:
        if self._ended is not None:
            raise self._ended
        task = self._waiting = asyncio.current_task()
        try:
            return await anext(body, b"")
        except asyncio.CancelledError:
            # Cancelled by `end`, unless somebody else did, or did too.
            reason: DomainError | None = self._ended
            if reason is None or task is None or task.uncancel() > 0:
                raise
            raise reason from None
        finally:
            self._waiting = None


class Turns:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._active: dict[UUID, Turn] = {}

    @asynccontextmanager
    async def take(
        self, tenant: UUID, upload_id: UUID, stopping: asyncio.Event, *, ends_others: bool = True
    ) -> AsyncIterator[Turn]:
        """Raises UploadNotFound (also for one that is finished, but for a part), UploadExpired, UploadBusy."""
        turn = Turn()
        deadline = asyncio.get_running_loop().time() + PATIENCE
        await self._enter(upload_id, turn, deadline, ends_others=ends_others)
        try:
            turn.upload = await self._claim(tenant, upload_id, turn, deadline, ends_others=ends_others)
            watch = asyncio.create_task(self._watch(tenant, turn, stopping))
            try:
                yield turn
            finally:
                watch.cancel()
                await asyncio.shield(asyncio.ensure_future(self._let_go(tenant, turn)))
        finally:
            del self._active[upload_id]
            turn.over.set()

    async def _enter(self, upload_id: UUID, turn: Turn, deadline: float, *, ends_others: bool) -> None:
        while (before := self._active.get(upload_id)) is not None:
            if ends_others:
                before.end(Superseded())
            try:
                async with asyncio.timeout_at(deadline):
                    await before.over.wait()
            except TimeoutError:
                raise UploadBusy from None
        self._active[upload_id] = turn

    async def _claim(
        self, tenant: UUID, upload_id: UUID, turn: Turn, deadline: float, *, ends_others: bool
    ) -> ResumableUpload:
        while True:
            async with self._database.transaction(tenant) as connection:
                found = await repository.claim(connection, upload_id, turn.lease)
                if found is not None:
                    return found
                await _explain(connection, upload_id)
                if ends_others:
                    await repository.want(connection, upload_id)
            if asyncio.get_running_loop().time() > deadline:
                raise UploadBusy
            await asyncio.sleep(LOOK)

    async def _watch(self, tenant: UUID, turn: Turn, stopping: asyncio.Event) -> None:
        while not turn.lost:
            await _pause(stopping)
            if stopping.is_set():
                turn.end(Stopping())
            try:
                await self._beat(tenant, turn)
            except Exception as error:  # noqa: BLE001 - without a database nobody else gets a turn either
                log.warning("the lease of an upload could not be kept fresh: %s", error)

    async def _beat(self, tenant: UUID, turn: Turn) -> None:
        async with self._database.transaction(tenant) as connection:
            wanted = await repository.beat(connection, turn.upload.id, turn.lease)
        turn.lost = wanted is None
        if turn.lost or wanted:
            turn.end(Superseded())

    async def _let_go(self, tenant: UUID, turn: Turn) -> None:
        if turn.lost or turn.released:
            return
        with contextlib.suppress(Exception):  # it goes stale by itself
            async with self._database.transaction(tenant) as connection:
                await repository.release(connection, turn.upload.id, turn.lease)


async def _explain(connection: Any, upload_id: UUID) -> None:
    """Why it could not be claimed. Returns when another request had it a moment ago."""
    upload = await repository.find(connection, upload_id, expired=True)
    if upload is None or (upload.finished and not upload.partial):
        raise UploadNotFound
    if await repository.find(connection, upload_id) is None:
        raise UploadExpired


async def _pause(stopping: asyncio.Event) -> None:
    """Until the next beat, or until the process is told to stop."""
    if stopping.is_set():
        await asyncio.sleep(BEAT)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BEAT):
            await stopping.wait()
