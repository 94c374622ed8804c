"""The stores there are, by name. Every tenant's new files go to one of them; every file remembers its own."""

from collections.abc import Mapping

from services.upload.blobs.store import BlobStore
from shared.errors import DomainError

DEFAULT = "default"


class LocationUnknown(DomainError):
    """A file or a tenant names a store that is not configured any more: when in doubt, refuse."""

    def __init__(self, name: str) -> None:
        super().__init__("location_unknown", 503, f"The storage location {name!r} is not configured.")


class Locations:
    def __init__(self, stores: Mapping[str, BlobStore]) -> None:
        self._stores = stores

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
        for store in self._stores.values():
            await store.open()

    async def check(self) -> None:
        """Raises when one of them cannot be written."""
        for store in self._stores.values():
            await store.check()

    async def close(self) -> None:
        for store in self._stores.values():
            await store.close()
