"""What direct uploads leave behind, and those that nobody will complete. Every step may run twice or die halfway."""

import asyncio
import logging
import time
from collections.abc import Mapping
from uuid import UUID

from prometheus_client import Counter

from services.upload.blobs.locations import Locations
from services.upload.direct import repository
from services.upload.direct.models import DirectUpload
from services.upload.direct.offers import STAGING, Offers
from services.upload.direct.service import DirectUploadService
from shared.db import Database
from shared.errors import DomainError

log = logging.getLogger(__name__)

ENDED = Counter("stowage_upload_direct_ended_total", "Direct uploads cleaned up, by the state they ended in", ["state"])
PAGE = 1000


class DirectCleanup:
    """Runs as the worker, who sees all tenants. Reservations expire by themselves, at the same time."""

    def __init__(
        self,
        database: Database,
        service: DirectUploadService,
        locations: Locations,
        offers: Mapping[str, Offers],
        settled_after: float,
    ) -> None:
        """`settled_after`: seconds after which staged bytes that no upload knows are nobody's."""
        self._database = database
        self._service = service
        self._locations = locations
        self._offers = offers
        self._settled_after = settled_after

    async def collect(self) -> None:
        """Uploads whose client does not say that it is done, as soon as their bytes are there."""
        async with self._database.transaction() as connection:
            waiting = await repository.list_collected(connection)
        await asyncio.gather(*(self._collect(upload) for upload in waiting))

    async def remove_expired(self) -> None:
        """No URL of theirs is good any more: what is staged goes, also what came after the end."""
        while True:
            async with self._database.transaction() as connection:
                expired = await repository.expire(connection)
            for upload in expired:
                await self._remove(upload)
            if not expired:
                break

    async def sweep(self) -> None:
        """Staged bytes that no upload knows: written as it ended."""
        for name in self._locations.names:
            page: list[str] = []
            async for found in self._locations[name].walk(STAGING):
                if found.modified < time.time() - self._settled_after:
                    page.append(found.path)
                if len(page) == PAGE:
                    await self._sweep_page(name, page)
                    page = []
            await self._sweep_page(name, page)

    async def _collect(self, upload: DirectUpload) -> None:
        try:
            await self._service.collect(upload)
        except DomainError as error:
            log.info("direct upload %s is not complete: %s", upload.id, error)

    async def _remove(self, upload: DirectUpload) -> None:
        if upload.location in self._offers and upload.location in self._locations.names:
            if upload.state != "stored":
                await self._offers[upload.location].abort(upload)
            # At a file's own path there may be a file: what is there without one is swept as an orphan.
            if upload.staged.startswith(STAGING):
                await self._locations[upload.location].delete(upload.staged)
        async with self._database.transaction() as connection:
            await repository.delete(connection, upload.id)
        ENDED.labels(upload.state).inc()

    async def _sweep_page(self, name: str, paths: list[str]) -> None:
        named = {path: upload for path in paths if (upload := _upload_of(path)) is not None}
        async with self._database.transaction() as connection:
            known = await repository.list_known(connection, list(named.values()))
        for path, upload in named.items():
            if upload not in known:
                await self._locations[name].delete(path)


def _upload_of(path: str) -> UUID | None:
    try:
        return UUID(path.split("/")[1])
    except (ValueError, IndexError):
        return None
