"""A blob that has its place already."""

from typing import Any

from services.upload.blobs.store import BlobStore


class PlacedBlob:
    """A BlobWriter with nothing left to write."""

    take = None

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._path: str | None = None

    def aim(self, path: str) -> None:
        """It has its place."""

    async def write(self, chunk: bytes) -> None:  # noqa: ARG002 - none is expected
        raise AssertionError("the blob is whole")

    async def checkpoint(self) -> dict[str, Any]:
        return {}

    async def counted(self) -> None:
        pass

    async def finish(self) -> None:
        pass

    async def place(self, path: str) -> None:
        self._path = path

    async def suspend(self) -> None:
        pass

    async def abort(self) -> None:
        if self._path is not None:
            await self._store.delete(self._path)
