"""The stores there are, by name. Every tenant's new files go to one of them; every file remembers its own."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import Gauge

from services.upload.blobs.store import BlobStore
from shared.errors import DomainError

log = logging.getLogger(__name__)

DEFAULT = "default"
READY = Gauge("stowage_upload_store_ready", "1 while the store can be written, by location", ["location"])


class LocationUnknown(DomainError):
    """A file or a tenant names a store that is not configured any more: when in doubt, refuse."""

    def __init__(self, name: str) -> None:
        super().__init__("location_unknown", 503, f"The storage location {name!r} is not configured.")


class Locations:
    """`spool`: the folder of what waits outside a store, None for the system's temporary one."""

    def __init__(self, stores: Mapping[str, BlobStore], spool: Path | None = None) -> None:
        self.spool = spool
        self._stores = stores
        self._unopened = set(stores)

    def __getitem__(self, name: str) -> BlobStore:
        """Raises LocationUnknown."""
        store = self._stores.get(name)
        if store is None:
            raise LocationUnknown(name)
        return store

    @property
    def names(self) -> list[str]:
        return list(self._stores)

    async def open(self) -> None:
        """Makes what is missing. A store that does not answer just now is tried again by every `check`."""
        await asyncio.gather(*map(self._is_ready, self._stores))

    async def check(self) -> None:
        """Raises when the default one cannot be written; of the others, which are a few tenants', the metric tells."""
        errors = dict(zip(self._stores, await asyncio.gather(*map(self._is_ready, self._stores)), strict=True))
        if (error := errors.get(DEFAULT)) is not None:
            raise error

    async def close(self) -> None:
        for store in self._stores.values():
            await store.close()

    async def _is_ready(self, name: str) -> Exception | None:
        try:
            if name in self._unopened:
                await self._stores[name].open()
                self._unopened.discard(name)
            await self._stores[name].check()
        except (DomainError, OSError) as error:
            log.error("the store %r is not ready: %s", name, error)
            READY.labels(name).set(0)
            return error
        READY.labels(name).set(1)
        return None
