"""What clients send to the local store's own URLs: counted as it comes, never more than is reserved."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from services.upload.blobs.digest import Digest
from services.upload.blobs.locations import Locations
from services.upload.blobs.store import BlobWriter
from services.upload.direct import repository
from services.upload.direct.errors import DirectUploadEnded, SizeMismatch
from services.upload.direct.models import DirectUpload
from services.upload.direct.offers import staging
from services.upload.direct.reservation import Reservations
from shared.db import Database
from shared.http import ClientGone
from shared.ids import new_id

ALIVE = 60.0  # seconds between two signs of life while bytes come


class Receiver:
    def __init__(self, database: Database, locations: Locations, reservations: Reservations) -> None:
        self._database = database
        self._locations = locations
        self._reservations = reservations

    async def receive(
        self, tenant: UUID, upload_id: UUID, size: int, length: int | None, body: AsyncIterator[bytes]
    ) -> tuple[str, UUID | None]:
        """The sha256, in hex, and the file's project. What is sent again takes the place of what came before, until the
        upload is completed.

        Raises SizeMismatch, DirectUploadEnded, ClientGone, StoreUnavailable, StoreFull; then nothing is kept.
        """
        if length is not None and length > size:
            raise SizeMismatch(size, length)
        upload = await self._prolong(tenant, upload_id)
        put, digest = new_id(), Digest()
        writer = self._locations[upload.location].create(put, digest)
        staged = f"{staging(upload_id)}/{put}"
        try:
            received = await self._write(writer, upload, size, body)
            if length is not None and received < length:
                raise ClientGone
            await writer.finish()
            await writer.place(staged)
            before = await self._stage(upload, staged)
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(writer.abort()))
            raise
        await self._locations[upload.location].delete(before)
        return digest.sha256, upload.placement.project_id

    async def _write(self, writer: BlobWriter, upload: DirectUpload, size: int, body: AsyncIterator[bytes]) -> int:
        received, told = 0, asyncio.get_running_loop().time()
        async for chunk in body:
            received += len(chunk)
            if received > size:
                raise SizeMismatch(size, received)
            await writer.write(chunk)
            if asyncio.get_running_loop().time() - told > ALIVE:
                await self._prolong(upload.tenant_id, upload.id)
                told = asyncio.get_running_loop().time()
        return received

    async def _prolong(self, tenant: UUID, upload_id: UUID) -> DirectUpload:
        async with self._database.transaction(tenant) as connection:
            upload = await repository.prolong(connection, upload_id)
        if upload is None:
            raise DirectUploadEnded("over")
        await self._reservations.prolong(upload)
        return upload

    async def _stage(self, upload: DirectUpload, staged: str) -> str:
        """What was staged before. Raises DirectUploadEnded: completed meanwhile, it takes nothing more."""
        async with self._database.transaction(upload.tenant_id) as connection:
            before = await repository.stage(connection, upload.id, staged)
        if before is None:
            raise DirectUploadEnded("over")
        return before
