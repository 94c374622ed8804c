"""A bucket, container or folder of one's own on each kind of store, over the wire."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from services.upload.blobs.local import LocalStore
from services.upload.blobs.open import open_store
from services.upload.blobs.places import read_place
from services.upload.blobs.store import BlobStore
from tests.fixtures.stores import KINDS, ObjectServer, told

SECONDS = 3.0  # how long a store that fails is asked again


@dataclass
class Place:
    """`open` gives a store object as another process would have it: the same bytes, no common memory."""

    kind: str
    make: Callable[[], BlobStore]
    opened: list[BlobStore] = field(default_factory=list)

    async def open(self) -> BlobStore:
        store = self.make()
        self.opened.append(store)
        await store.open()
        return store

    async def close(self) -> None:
        for store in self.opened:
            await store.close()


@pytest.fixture(params=KINDS)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    kind = request.param
    if kind == "local":
        found = Place(kind, lambda: LocalStore(tmp_path / "store"))
    else:
        found = Place(kind, maker(kind, request.getfixturevalue(f"{kind}_server"), tmp_path))
    yield found
    await found.close()


@pytest.fixture
async def store(place: Place) -> BlobStore:
    return await place.open()


def maker(kind: str, server: ObjectServer, spool: Path, url: str | None = None) -> Callable[[], BlobStore]:
    """Stores on a new bucket; `url` where it is reached, if not straight."""
    bucket = f"test-{uuid4().hex[:12]}"

    def make() -> BlobStore:
        names = {name.removeprefix(f"{kind}_"): value for name, value in told(kind, server, bucket, url).items()}
        del names["storage_backend"]
        return open_store(read_place({"backend": kind, **names}), spool / "spool", SECONDS)

    return make
