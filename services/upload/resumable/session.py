"""One upload under way, in the hands of the request whose turn it is."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from services.upload.blobs.digest import Digest
from services.upload.blobs.locations import Locations
from services.upload.blobs.store import BlobWriter
from services.upload.files import repository as files
from services.upload.files.rules import path_beside
from services.upload.intake.acceptance import Purpose, Sender
from services.upload.intake.incoming import Incoming
from services.upload.intake.intake import Begun, Intake
from services.upload.intake.placement import Placement
from services.upload.intake.stripped import Stripped, strippable
from services.upload.quota.service import AccountService
from services.upload.resumable import repository
from services.upload.resumable.digests import Digests
from services.upload.resumable.errors import Superseded, UploadNotFound
from services.upload.resumable.models import ResumableUpload, part_path
from services.upload.resumable.placed import PlacedBlob
from services.upload.resumable.rules import read_metadata, renewed, strips_location
from services.upload.resumable.turns import Turn
from shared import faults
from shared.clock import Clock
from shared.db import Database
from shared.errors import DomainError


class Sessions:
    """Opens, saves, completes and removes. `lifetime` of an upload from which nothing comes."""

    def __init__(
        self,
        database: Database,
        accounts: AccountService,
        intake: Intake,
        locations: Locations,
        clock: Clock,
        lifetime: timedelta,
    ) -> None:
        self.lifetime = lifetime
        self._database = database
        self._accounts = accounts
        self._intake = intake
        self._locations = locations
        self._clock = clock
        self._digests = Digests()

    def placement(self, said: str) -> Placement:
        """Raises InvalidHeader, InvalidUpload."""
        known = read_metadata(said)
        tree, name = self._intake.policy.tree, known.get("filename", "")
        return Placement.read(tree, name, known.get, known.get("filetype"))

    def path(self, upload: ResumableUpload) -> str:
        """Where its bytes go as they are."""
        placement = None if upload.partial else self.placement(upload.said)
        if placement is None or placement.strip_location:
            return part_path(upload.tenant_id, upload.id)
        return placement.path(upload.tenant_id, upload.id)

    async def open(self, upload: ResumableUpload) -> Incoming:
        """To go on after the bytes that are safe. A process may have died between placing a whole upload and saying so:
        then there is nothing left to write.
        """
        store, path = self._locations[upload.location], self.path(upload)
        if upload.length is not None and (upload.whole or upload.final):
            found = await store.stat(path)
            there = found is not None and found.size == upload.length
            if there or await self.is_file(upload.tenant_id, upload.id):
                return await self._incoming(upload, PlacedBlob(store), None, upload.length)
        digest = self._digests.after(upload.id, upload.upload_offset)
        writer = store.resume(upload.id, upload.state, upload.upload_offset, digest, path)
        return await self._incoming(upload, writer, digest, upload.upload_offset)

    async def save(self, turn: Turn, incoming: Incoming, *, release: bool) -> None:
        """What has come is safe when this returns, and the row says so. Raises Superseded."""
        upload, moved = turn.upload, incoming.received > turn.upload.upload_offset
        if moved:
            upload.state = await incoming.writer.checkpoint()
            upload.upload_offset = incoming.received
            if not upload.whole:
                await self._renew(upload, incoming)
        if release:
            await incoming.writer.suspend()
        await self._write(turn, release=release)
        if moved and incoming.digest is not None:
            # Hashed while the row was written. The next request of this process comes after this one's end.
            await incoming.writer.counted()
            self._digests.keep(upload.id, incoming.digest)
        faults.reach("upload.checkpointed")

    async def complete(self, turn: Turn, incoming: Incoming) -> None:
        """All bytes are here. A refusal that stands ends the upload; one that may pass leaves it as it is."""
        upload = turn.upload
        try:
            await self._place(upload, incoming)
        except FileNotFoundError:
            await self.remove(upload, incoming.writer)
            raise UploadNotFound from None
        except DomainError as error:
            if error.status < 500:
                await self.remove(upload, incoming.writer)
            raise
        self._digests.forget(upload.id)
        upload.finished = True
        await self._write(turn, release=True)

    async def remove(self, upload: ResumableUpload, writer: BlobWriter | None = None) -> None:
        """Its bytes, its space, its row, in this order: what is left half-way expires."""
        store = self._locations[upload.location]
        writer = writer or store.resume(upload.id, upload.state, upload.upload_offset, None)
        await writer.abort()
        await self.drop_part(upload)
        await self._accounts.release(upload.tenant_id, upload.id)
        self._digests.forget(upload.id)
        async with self._database.transaction(upload.tenant_id) as connection:
            await repository.delete(connection, [upload.id])

    async def is_file(self, tenant: UUID, upload_id: UUID) -> bool:
        async with self._database.transaction(tenant) as connection:
            return await files.find(connection, upload_id) is not None

    async def store(self, upload: ResumableUpload, incoming: Incoming, purpose: Purpose) -> None:
        """The file, of all its bytes. Raises what Incoming and Stripped raise."""
        placement = self.placement(upload.said)
        if not placement.strip_location:
            await incoming.store(placement, purpose)
            return
        if not await self.is_file(upload.tenant_id, upload.id):
            await incoming.writer.finish()
            await incoming.writer.place(self.path(upload))
            await self._store_stripped(upload, placement, purpose)
        await self.drop_part(upload)

    async def _place(self, upload: ResumableUpload, incoming: Incoming) -> None:
        if upload.partial:
            await incoming.writer.finish()
            await incoming.writer.place(self.path(upload))
            return
        placed = isinstance(incoming.writer, PlacedBlob) and await self.is_file(upload.tenant_id, upload.id)
        if not placed or strips_location(upload.said):
            await self.store(upload, incoming, Purpose())

    async def _store_stripped(self, upload: ResumableUpload, placement: Placement, purpose: Purpose) -> None:
        """The file's bytes are others than those that came, so they get a place of their own: two processes that
        believe each other dead do not meet.
        """
        store, size = self._locations[upload.location], upload.length or 0
        path = path_beside(placement.path(upload.tenant_id, upload.id), uuid4().hex[:8])
        digest = Digest()
        writer = store.create(uuid4(), digest, path)
        incoming = Stripped(await self._incoming(upload, writer, digest, 0), self._intake.spool)
        try:
            async for piece in store.read(self.path(upload), 0, size):
                await incoming.write(piece, size)
            await incoming.store(placement, purpose, path)
        finally:
            incoming.close()
            await asyncio.shield(asyncio.ensure_future(self._drop_unowned(upload, writer, path)))

    async def _drop_unowned(self, upload: ResumableUpload, writer: BlobWriter, path: str) -> None:
        """What no commit has given an owner: it failed, or another process was there first."""
        async with self._database.transaction(upload.tenant_id) as connection:
            owned = await files.is_owned(connection, upload.location, path)
        if not owned:
            await writer.abort()

    async def drop_part(self, upload: ResumableUpload) -> None:
        """Its bytes as they came, where they are no file's."""
        if upload.partial or strips_location(upload.said):
            await self._locations[upload.location].delete(part_path(upload.tenant_id, upload.id))

    async def _incoming(
        self, upload: ResumableUpload, writer: BlobWriter, digest: Digest | None, offset: int
    ) -> Incoming:
        # Without a length, as much is held as is safe; more is held as it comes.
        held = offset if upload.length is None else upload.length
        begun = Begun(upload.id, upload.location, writer, digest, offset, held, upload.length, self.lifetime)
        incoming = await self._intake.resume(Sender(upload.tenant_id, upload.user_id), begun)
        if not upload.partial and strips_location(upload.said):
            incoming.limit = strippable(incoming.limit)
        return incoming

    async def _renew(self, upload: ResumableUpload, incoming: Incoming) -> None:
        """The space first: it must not end before the upload does."""
        expires = renewed(self._clock.now(), self.lifetime, upload.expires_at)
        if expires != upload.expires_at:
            await incoming.space.renew()
            upload.expires_at = expires

    async def _write(self, turn: Turn, *, release: bool) -> None:
        upload = turn.upload
        async with self._database.transaction(upload.tenant_id) as connection:
            kept = not turn.lost and await repository.save(connection, upload, turn.lease, release=release)
        if not kept:
            turn.lost = True
            raise Superseded
        turn.released = release
