"""Uploads from which nothing came for too long."""

from uuid import uuid4

from services.upload.blobs.garbage import REMOVED
from services.upload.blobs.locations import Locations
from services.upload.resumable import repository
from services.upload.resumable.models import ResumableUpload, part_path
from services.upload.resumable.rules import strips_location
from shared.db import Database

PAGE = 100


class ResumableExpiry:
    """The worker's. The space is given back by the job that expires reservations: they end at the same time."""

    def __init__(self, database: Database, locations: Locations) -> None:
        self._database = database
        self._locations = locations

    async def run(self) -> dict[str, int] | None:
        """Bytes first, then the row, so that a crash repeats and forgets nothing."""
        removed = 0
        while True:
            async with self._database.transaction() as connection:
                uploads = await repository.claim_expired(connection, uuid4(), PAGE)
            for upload in uploads:
                await self._remove_bytes(upload)
            async with self._database.transaction() as connection:
                await repository.delete(connection, [upload.id for upload in uploads])
            removed += len(uploads)
            if len(uploads) < PAGE:
                return {"uploads": removed} if removed else None

    async def _remove_bytes(self, upload: ResumableUpload) -> None:
        if upload.finished and not upload.partial:
            return
        store = self._locations[upload.location]
        await store.resume(upload.id, upload.state, upload.upload_offset, None).abort()
        if upload.partial or strips_location(upload.said):
            await store.delete(part_path(upload.tenant_id, upload.id))
        REMOVED.labels("expired").inc()
