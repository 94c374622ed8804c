"""Stores that are slow, busy, broken, full or silent: asked again for a while, then a clear error and no half blobs."""

import asyncio
import contextlib
import errno
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from services.upload.blobs.digest import Digest
from services.upload.blobs.store import BlobStore, StoreFull, StoreUnavailable
from tests.fixtures.stores import KINDS
from tests.fixtures.trouble import Troublemaker
from tests.services.upload.blobs.conftest import Place, maker
from tests.services.upload.blobs.test_stores import LARGE, MIB, listed, nothing_left, path_of, put, read

SECONDS = 3.0  # how long a store that fails is asked again, where that is what is tested
PATIENT = 30.0  # where it is done in the end
PARTS = 9 * MIB  # bytes in more than one part


Troubled = tuple[BlobStore, Troublemaker]


@asynccontextmanager
async def trouble_before(
    kind: str, request: pytest.FixtureRequest, root: Path, seconds: float
) -> AsyncIterator[Troubled]:
    """A store, and what stands between it and us."""
    server = request.getfixturevalue(f"{kind}_server")
    async with Troublemaker(server.url).running() as proxy:
        place = Place(kind, maker(kind, server, root, proxy.url, seconds))
        try:
            yield await until_open(place), proxy
        finally:
            await place.close()


async def until_open(place: Place) -> BlobStore:
    """A server that is busy may be too slow for the one attempt there is when a store is opened."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await place.open()
            await asyncio.sleep(0.05)


@pytest.fixture(params=KINDS[1:])
async def troubled(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Troubled]:
    async with trouble_before(request.param, request, tmp_path, SECONDS) as found:
        yield found


@pytest.fixture(params=KINDS[1:])
async def patient(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Troubled]:
    async with trouble_before(request.param, request, tmp_path, PATIENT) as found:
        yield found


@pytest.mark.parametrize("trouble", ["503", "reset", "lost", "slow"])
@pytest.mark.parametrize(("size", "known"), [(100, True), (PARTS, False)])
async def test_what_fails_at_first_is_done_in_the_end(patient: Troubled, trouble: str, size: int, known: bool) -> None:
    store, proxy = patient
    proxy.make(trouble, times=1)
    path = await put(store, LARGE[:size], known=known)
    content = await read(store, path, 0, size)
    assert hashlib.sha256(content).digest() == hashlib.sha256(LARGE[:size]).digest()
    assert trouble == "slow" or max(proxy.asked.values()) > 1
    assert await listed(store.walk("customers/")) == {path: size}
    await store.delete(path)
    proxy.make(None)
    for leftover in [left async for left in store.leftovers(time.time() + 60)]:
        assert trouble == "lost"  # nobody told us the name of what was begun: the clean-up removes it
        await store.drop(leftover)
    await nothing_left(store)


@pytest.mark.parametrize("trouble", ["503", "reset", "cut"])
async def test_a_download_goes_on_where_it_broke_off(patient: Troubled, trouble: str) -> None:
    store, proxy = patient
    path = await put(store, LARGE[: 5 * MIB])
    proxy.make(trouble, times=3)
    assert await read(store, path, 1000, 4 * MIB) == LARGE[1000 : 1000 + 4 * MIB]
    assert sum(proxy.asked.values()) > 1


@pytest.mark.parametrize(("trouble", "size"), [("503", 100), ("reset", PARTS), ("hang", PARTS)])
async def test_given_up_after_the_deadline(troubled: Troubled, trouble: str, size: int) -> None:
    store, proxy = troubled
    upload = uuid4()
    path = path_of(upload)
    writer = store.create(upload, Digest(), path)
    await writer.write(LARGE[: size // 2])
    proxy.make(trouble)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await writer.write(LARGE[size // 2 : size])
        await writer.finish()
        await writer.place(path)
    assert time.monotonic() - began < SECONDS * 1.7
    with contextlib.suppress(StoreUnavailable):
        await writer.abort()  # and nobody waits a second time
    assert time.monotonic() - began < SECONDS * 2.5
    proxy.make(None)
    assert await store.stat(path) is None
    await writer.abort()
    await nothing_left(store)


@pytest.mark.parametrize("trouble", ["full", "read-only"])
@pytest.mark.parametrize("size", [100, PARTS])
async def test_a_store_that_takes_nothing_is_said_to_be_full_at_once(
    troubled: Troubled, trouble: str, size: int
) -> None:
    store, proxy = troubled
    path = await put(store, b"there before")
    upload = uuid4()
    proxy.make(trouble)
    writer = store.create(upload, Digest(), path_of(upload))
    began = time.monotonic()
    with pytest.raises(StoreFull):
        await writer.write(LARGE[:size])
        await writer.finish()
        await writer.place(path_of(upload))
    assert time.monotonic() - began < 1
    assert await read(store, path, 0, 12) == b"there before"
    proxy.make(None)
    await writer.abort()
    await store.delete(path)
    await nothing_left(store)


async def test_readiness_tells(troubled: Troubled, monkeypatch: pytest.MonkeyPatch) -> None:
    store, proxy = troubled
    monkeypatch.setattr("services.upload.blobs.wire.LATELY", 0.0)
    await store.check()
    for trouble in ("full", "read-only", "503", "reset"):
        proxy.make(trouble)
        with pytest.raises((StoreFull, StoreUnavailable)):
            await store.check()
    proxy.make(None)
    await store.check()


async def test_a_cancelled_upload_leaves_nothing(troubled: Troubled) -> None:
    """The client goes while parts are on their way."""
    store, proxy = troubled
    proxy.make("slow")
    upload = uuid4()
    writer = store.create(upload, Digest(), path_of(upload))

    async def send() -> None:
        for start in range(0, PARTS, 60_000):
            await writer.write(LARGE[start : start + 60_000])
        await writer.finish()
        await writer.place(path_of(upload))

    for pause in (0.05, 0.5):
        task = asyncio.create_task(send())
        await asyncio.sleep(pause)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await writer.abort()
        upload = uuid4()
        writer = store.create(upload, Digest(), path_of(upload))
    proxy.make(None)
    await asyncio.sleep(0.4)  # a part that had been sent in full may still arrive: those are left to the clean-up
    for leftover in [left async for left in store.leftovers(time.time() + 60)]:
        assert leftover.size, "no multipart upload is left open"
        await store.drop(leftover)
    await nothing_left(store)


@pytest.mark.parametrize("size", [3 * MIB, 17 * MIB])
async def test_a_full_disk(place: Place, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's own, or the one parts are kept on their way."""
    store = await place.open()
    upload = uuid4()
    writer = store.create(upload, Digest(), path_of(upload))
    real, room = os.pwritev, size // 2

    def pwritev(file: int, chunks: list[memoryview], offset: int) -> int:
        nonlocal room
        room -= sum(map(len, chunks))
        if room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, chunks, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    with pytest.raises(StoreFull):
        for start in range(0, size, 60_000):
            await writer.write(LARGE[start : start + 60_000])
        await writer.finish()
        await writer.place(path_of(upload))
    await writer.abort()
    await nothing_left(store)
