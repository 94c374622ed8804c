"""A bucket, container or folder of one's own on each kind of store, over the wire."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from services.upload.blobs.azure import AzureStore
from services.upload.blobs.gcs import GcsStore
from services.upload.blobs.local import LocalStore
from services.upload.blobs.s3 import S3Store
from services.upload.blobs.spool import Spool
from services.upload.blobs.store import BlobStore
from tests.fixtures.stores import ObjectServer

SECONDS = 3.0  # how long a store that fails is asked again
REGION = "us-east-1"


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


KINDS = [
    "local",
    pytest.param("s3", marks=pytest.mark.parts("s3_program")),
    pytest.param("azure", marks=pytest.mark.parts("azurite")),
    pytest.param("gcs", marks=pytest.mark.parts("fake_gcs")),
]


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
    bucket, where = f"test-{uuid4().hex[:12]}", url or server.url

    def make() -> BlobStore:
        files = Spool(spool / "spool")
        if kind == "s3":
            return S3Store(where, REGION, bucket, server.key, server.secret, files, SECONDS)
        if kind == "azure":
            return AzureStore(f"{where}/{server.key}", server.key, server.secret, bucket, files, SECONDS)
        return GcsStore(where, bucket, "tests", None, files, SECONDS)

    return make
