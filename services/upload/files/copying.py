"""A copy is a new file: it reserves, is copied inside the store, and settles, like an upload without a body."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from services.upload.blobs.digest import Digest
from services.upload.blobs.locations import Locations
from services.upload.errors import FileNotFound, ReservationLost
from services.upload.files import repository
from services.upload.files.models import StoredFile
from services.upload.files.placing import placed
from services.upload.files.service import BytesGone, FileService
from services.upload.intake.acceptance import Purpose, Repeated, Sender, Stored
from services.upload.intake.intake import Intake
from services.upload.intake.placement import Placement
from services.upload.intake.stripped import check_strippable, write_stripped
from services.upload.quota.changes import Change
from services.upload.quota.rules import Settle
from services.upload.quota.service import AccountService
from shared.clock import Clock
from shared.db import Database
from shared.events import FileStored
from shared.ids import new_id

ATTEMPTS = 3


class CopyService:
    def __init__(
        self,
        database: Database,
        files: FileService,
        accounts: AccountService,
        intake: Intake,
        locations: Locations,
        clock: Clock,
    ) -> None:
        self._database = database
        self._files = files
        self._accounts = accounts
        self._intake = intake
        self._locations = locations
        self._clock = clock

    async def copy_as(
        self, sender: Sender, file_id: UUID, said: Mapping[str, Any], key: str | None, *, strip_location: bool = False
    ) -> Stored | Repeated:
        """A new file; `said` is what is different of it. Raises FileNotFound, InvalidUpload and what `copy` raises."""
        for _ in range(ATTEMPTS):
            source = await self._files.get_live(sender.tenant, file_id)
            placement = replace(placed(self._intake.policy.tree, source, said), strip_location=strip_location)
            try:
                return await self.copy(sender, source, placement, Purpose(key=key))
            except BytesGone:
                continue  # replaced or moved meanwhile
        raise FileNotFound

    async def copy(
        self, sender: Sender, source: StoredFile, placement: Placement, purpose: Purpose, credit: int = 0
    ) -> Stored | Repeated:
        """`credit`: bytes of the file it replaces. Raises QuotaExceeded, FileTooLarge, FileScanning, FileBlocked;
        InvalidUpload where its location cannot be taken out; and BytesGone where the source or the file it replaces has
        changed meanwhile.
        """
        source.check_readable()
        if placement.strip_location:
            check_strippable(source.size)
        terms = await self._intake.terms(sender.tenant, source.size, resumable=True)
        upload = new_id()
        space = self._intake.space(sender, upload, credit=credit)
        await space.reserve(source.size)
        path, result = placement.path(sender.tenant, upload), None
        try:
            if placement.strip_location:
                source = await self._strip(source, terms.location, path)
            else:
                await self.duplicate(source, terms.location, path)
            result = await self._settle(sender, source, upload, path, placement, purpose, terms.location)
            return result
        finally:
            if not isinstance(result, Stored):
                await asyncio.shield(asyncio.ensure_future(self._undo(sender.tenant, upload, terms.location, path)))

    async def duplicate(self, source: StoredFile, location: str, path: str) -> None:
        """The same bytes under another path, visible all at once. Raises BytesGone, StoreUnavailable, StoreFull."""
        if source.location == location:
            try:
                await self._locations[location].copy(source.path, path)
            except FileNotFoundError:
                raise BytesGone from None
            return
        writer = self._locations[location].create(uuid4(), Digest(), path)
        try:
            async for chunk in self._locations[source.location].read(source.path, 0, source.size):
                await writer.write(chunk)
            await writer.finish()
            await writer.place(path)
        except FileNotFoundError:
            await writer.abort()
            raise BytesGone from None
        except BaseException:
            await writer.abort()
            raise

    async def _strip(self, source: StoredFile, location: str, path: str) -> StoredFile:
        """The source as if it had the bytes of the copy."""
        chunks = self._locations[source.location].read(source.path, 0, source.size)
        try:
            digest = await write_stripped(chunks, self._locations[location], path, self._locations.spool)
        except FileNotFoundError:
            raise BytesGone from None
        return source.model_copy(update={"size": digest.size, "sha256": digest.sha256})

    async def discard(self, tenant: UUID, location: str, path: str) -> None:
        """A copy nobody wants, unless the commit that was in doubt has given it an owner."""
        async with self._database.transaction(tenant) as connection:
            owned = await repository.is_owned(connection, location, path)
        if not owned:
            await self._locations[location].delete(path)

    async def _settle(
        self,
        sender: Sender,
        source: StoredFile,
        upload: UUID,
        path: str,
        placement: Placement,
        purpose: Purpose,
        location: str,
    ) -> Stored | Repeated:
        file = _file(sender, source, upload, path, placement, self._clock)
        change = Change(
            Settle(upload, file.size),
            file=file,
            metadata=placement.metadata,
            location=location,
            tasks=("image",) if file.file_type == "image" else (),
            idempotency_key=purpose.key,
            replaces=purpose.replaces,
            condition=purpose.condition,
        )
        result = await self._accounts.submit(sender.tenant, change)
        if result.unmet:
            raise BytesGone
        if not result.ok:
            raise ReservationLost
        if result.existing is not None:
            return Repeated(result.existing)
        return Stored(result.event or file, placement.metadata, result.state, "ready")

    async def _undo(self, tenant: UUID, upload: UUID, location: str, path: str) -> None:
        try:
            await self.discard(tenant, location, path)
        finally:
            await self._accounts.release(tenant, upload)


def _file(
    sender: Sender, source: StoredFile, upload: UUID, path: str, placement: Placement, clock: Clock
) -> FileStored:
    """The scanner has seen these bytes, and the sniffer: what they are is known."""
    return FileStored.model_validate(
        {
            "tenant_id": sender.tenant,
            "file_id": upload,
            "path": path,
            "name": placement.name,
            "size": source.size,
            "content_type": source.content_type,
            "file_type": source.file_type,
            "category": placement.category,
            "subcategory": placement.subcategory,
            "entity_id": placement.entity_id,
            "folder": placement.folder,
            "project_id": placement.project_id,
            "sha256": source.sha256,
            "uploaded_by": sender.user,
            "stored_at": clock.now(),
        }
    )
