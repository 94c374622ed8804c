"""One suite for the four kinds of store, each the real thing over the wire."""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from services.upload.blobs.digest import Digest
from services.upload.blobs.local import LocalStore
from services.upload.blobs.store import BlobStore, Found, StoreUnavailable
from services.upload.blobs.wire import Answer, Request
from tests.services.upload.blobs.conftest import Place

MIB = 1024 * 1024
LARGE = os.urandom(25 * MIB + 321)  # four parts; the same for all: making it takes time


def path_of(upload: UUID, folder: str = "documents") -> str:
    return f"customers/{uuid4()}/{folder}/{upload}.bin"


async def put(store: BlobStore, content: bytes, path: str | None = None, *, known: bool = True) -> str:
    """In chunks as a socket gives them."""
    upload = uuid4() if path is None else UUID(path.rsplit("/", 1)[-1].split(".")[0])
    path = path or path_of(upload)
    digest = Digest()
    writer = store.create(upload, digest, path if known else None)
    for start in range(0, len(content), 60_000):
        await writer.write(content[start : start + 60_000])
    await writer.finish()
    assert (digest.size, digest.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    await writer.place(path)
    return path


async def read(store: BlobStore, path: str, start: int, length: int) -> bytes:
    return b"".join([chunk async for chunk in store.read(path, start, length)])


async def listed(found: AsyncIterator[Found]) -> dict[str, int]:
    return {entry.path: entry.size async for entry in found}


async def nothing_left(store: BlobStore, prefix: str = "customers/") -> None:
    """Not a blob, nor anything that would become one, whoever began it."""
    assert await listed(store.walk(prefix)) == {}
    assert [leftover async for leftover in store.leftovers(time.time() + 60)] == []


@pytest.mark.parametrize(
    ("size", "known"), [(0, True), (1, False), (70_000, True), (3 * MIB, True), (8 * MIB, False), (len(LARGE), True)]
)
async def test_what_goes_in_comes_out(store: BlobStore, size: int, known: bool) -> None:
    path = await put(store, LARGE[:size], known=known)
    found = await store.stat(path)
    assert found is not None
    assert (found.path, found.size) == (path, size)
    assert abs(found.modified - time.time()) < 60
    assert hashlib.sha256(await read(store, path, 0, size)).digest() == hashlib.sha256(LARGE[:size]).digest()
    assert await listed(store.walk("customers/")) == {path: size}
    await store.delete(path)
    await nothing_left(store)


@pytest.mark.parametrize("size", [100, 9 * MIB])
async def test_nothing_is_visible_before_it_is_placed(store: BlobStore, size: int) -> None:
    upload = uuid4()
    path = path_of(upload)
    writer = store.create(upload, Digest(), path)
    await writer.write(LARGE[:size])
    await writer.finish()
    assert await store.stat(path) is None
    assert await listed(store.walk("customers/")) == {}
    with pytest.raises(FileNotFoundError):
        await read(store, path, 0, 1)
    await writer.place(path)
    assert (await listed(store.walk("customers/"))) == {path: size}


@pytest.mark.parametrize(
    ("stop", "known"), [("writing", True), ("finished", False), ("placed", True), ("placed", False), ("saved", True)]
)
@pytest.mark.parametrize("size", [1000, 17 * MIB])
async def test_abort_leaves_nothing(store: BlobStore, size: int, stop: str, known: bool) -> None:
    upload = uuid4()
    path = path_of(upload)
    writer = store.create(upload, Digest(), path if known else None)
    await writer.write(LARGE[: size // 2])
    if stop == "saved":
        await writer.checkpoint()
    await writer.write(LARGE[size // 2 : size])
    if stop in {"finished", "placed"}:
        await writer.finish()
    if stop == "placed":
        await writer.place(path)
    await writer.abort()
    await writer.abort()
    await nothing_left(store)


@pytest.mark.parametrize("size", [1000, 2 * MIB])
async def test_a_cancelled_placement_leaves_nothing_on_the_disk(tmp_path: Path, size: int) -> None:
    """Also when its thread goes on after that."""
    store = LocalStore(tmp_path, threads=1)
    upload, held = uuid4(), threading.Event()
    writer = store.create(upload, Digest())
    await writer.write(LARGE[:size])
    await writer.finish()
    before = store.start(held.wait)
    placing = asyncio.create_task(writer.place(path_of(upload)))
    await asyncio.sleep(0)
    placing.cancel()
    await asyncio.gather(placing, return_exceptions=True)
    aborting = asyncio.create_task(writer.abort())
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(before, aborting)
    await nothing_left(store)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("steps", [[10, 20, 30], [100, 9 * MIB, 9 * MIB + 7, 16 * MIB], [0, 5]])
async def test_an_upload_goes_on_in_another_process(place: Place, steps: list[int], known: bool) -> None:
    upload, size = uuid4(), steps[-1] + 1000
    path = path_of(upload)
    hint = path if known else None
    first = await place.open()
    writer, digest, before = first.create(upload, Digest(), hint), Digest(), 0
    for step in steps:
        digest = digest.copy()
        digest.update([LARGE[before:step]])
        await writer.write(LARGE[before:step])
        state = await writer.checkpoint()
        await writer.write(os.urandom(300_000))  # comes after the checkpoint: dropped
        await writer.suspend()
        other = await place.open()
        writer, before = other.resume(upload, state, step, digest, hint), step
    await writer.write(LARGE[before:size])
    await writer.finish()
    await writer.place(path)
    assert digest.sha256 == hashlib.sha256(LARGE[:size]).hexdigest()
    store = await place.open()
    assert await read(store, path, 0, size) == LARGE[:size]
    await store.delete(path)
    await nothing_left(store)


async def test_an_older_checkpoint_serves_while_the_newer_is_not_written_down(place: Place) -> None:
    """The process dies between `checkpoint` and the commit of what it said."""
    upload = uuid4()
    path, store = path_of(upload), await place.open()
    writer = store.create(upload, Digest(), path)
    await writer.write(LARGE[: 2 * MIB])
    old = await writer.checkpoint()
    await writer.write(LARGE[2 * MIB : 9 * MIB])
    await writer.checkpoint()
    await writer.write(b"never safe")
    await writer.suspend()
    again = (await place.open()).resume(upload, old, 2 * MIB, None, path)
    await again.write(LARGE[2 * MIB : 12 * MIB])
    await again.finish()
    await again.place(path)
    assert await read(store, path, 0, 12 * MIB) == LARGE[: 12 * MIB]
    await store.delete(path)
    await nothing_left(store)


async def test_one_writer_saves_as_it_goes(store: BlobStore) -> None:
    upload = uuid4()
    path, digest = path_of(upload), Digest()
    writer = store.create(upload, digest, path)
    for start in range(0, 12 * MIB, 2 * MIB):
        await writer.write(LARGE[start : start + 2 * MIB])
        await writer.checkpoint()
    await writer.finish()
    await writer.place(path)
    assert digest.sha256 == hashlib.sha256(LARGE[: 12 * MIB]).hexdigest()
    assert await read(store, path, 0, 12 * MIB) == LARGE[: 12 * MIB]
    await store.delete(path)
    await nothing_left(store)


async def test_a_state_that_does_not_reach_that_far_is_refused(store: BlobStore) -> None:
    upload = uuid4()
    with pytest.raises(StoreUnavailable):
        writer = store.resume(upload, {}, 5, Digest(), None)
        await writer.write(b"more")
        await writer.checkpoint()


async def test_ranges(store: BlobStore) -> None:
    path = await put(store, LARGE)
    for start, length in ((0, 1), (5, 70_000), (25 * MIB, 321), (10 * MIB, 9 * MIB), (7, 0)):
        pieces = [chunk async for chunk in store.read(path, start, length)]
        assert b"".join(pieces) == LARGE[start : start + length]
        assert all(len(piece) <= 512 * 1024 for piece in pieces)


async def test_a_blob_that_lies_here_is_opened(place: Place) -> None:
    """A disk's can be; it says when it does not hold what it should."""
    store = await place.open()
    path = await put(store, b"content")
    file = await store.open_file(path, 7)
    assert (file is not None) == (place.kind == "local")
    if file is not None:
        with file:
            assert file.read() == b"content"
        with pytest.raises(OSError, match="shorter"):
            await store.open_file(path, 8)
        with pytest.raises(FileNotFoundError):
            await store.open_file(path_of(uuid4()), 7)


async def test_what_is_not_there(store: BlobStore) -> None:
    path = path_of(uuid4())
    assert await store.stat(path) is None
    for length in (0, 1):
        with pytest.raises(FileNotFoundError):
            await read(store, path, 0, length)
    with pytest.raises(FileNotFoundError):
        await store.copy(path, path_of(uuid4()))
    await store.delete(path)
    await store.delete(path)


async def test_a_copy_is_another_blob(store: BlobStore) -> None:
    path, target = await put(store, LARGE), path_of(uuid4(), "images")
    await store.copy(path, target)
    await store.copy(path, target)  # as a repeat after a crash
    await store.delete(path)
    assert await listed(store.walk("customers/")) == {target: len(LARGE)}
    assert await read(store, target, 0, len(LARGE)) == LARGE


async def test_a_large_copy_goes_in_parts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.upload.blobs.s3.COPIED_AT_ONCE", 6 * MIB)
    store, target = await place.open(), path_of(uuid4())
    path = await put(store, LARGE)
    await store.copy(path, target)
    await store.copy(path, target)
    assert await read(store, target, 0, len(LARGE)) == LARGE
    await store.delete(path)
    await store.delete(target)
    await nothing_left(store)


async def test_aimed_at_another_place(store: BlobStore) -> None:
    """The form's last field says that the file belongs elsewhere."""
    upload = uuid4()
    wrong, right = path_of(upload), path_of(upload, "images")
    writer = store.create(upload, Digest())
    writer.aim(wrong)
    await writer.write(LARGE)
    await writer.finish()
    await writer.place(right)
    assert await listed(store.walk("")) == {right: len(LARGE)}
    await store.delete(right)
    await nothing_left(store)


@pytest.mark.parametrize("size", [10, 12 * MIB])
async def test_never_over_another_blob(place: Place, size: int) -> None:
    if place.kind == "gcs" and size > 8 * MIB:
        pytest.skip("the emulator composes over what is there, whatever ifGenerationMatch says; Google does not")
    store = await place.open()
    path = await put(store, b"the first one")
    writer = store.create(uuid4(), Digest(), path)
    await writer.write(LARGE[:size])
    await writer.finish()
    with pytest.raises(StoreUnavailable):
        await writer.place(path)
    await writer.abort()
    assert await read(store, path, 0, 13) == b"the first one"
    assert await listed(store.walk("")) == {path: 13}


@pytest.mark.parametrize("name", ["a b+c%20&=?#.bin", "ü–漢字🙂.bin", "n" * 255, "~!*'();:@,$[].bin"])
async def test_names_of_adopted_blobs(place: Place, name: str) -> None:
    """Ours are plain; those of an adopted bucket are what they are."""
    if place.kind == "gcs":
        name = name[-230:]  # the emulator adds something to the name of its file
    store = await place.open()
    path, upload = f"customers/{uuid4()}/{name}", uuid4()
    writer = store.create(upload, Digest(), path)
    await writer.write(b"named")
    await writer.finish()
    await writer.place(path)
    assert await read(store, path, 0, 5) == b"named"
    assert await listed(store.walk("customers/")) == {path: 5}
    await store.copy(path, path + "2" if len(name) < 255 else f"customers/{name}")
    await store.delete(path)
    assert len(await listed(store.walk("customers/"))) == 1


async def test_what_killed_processes_left(place: Place) -> None:
    """Nobody told the store that they would not come back."""
    store, uploads = await place.open(), [uuid4() for _ in range(4)]
    for upload, size, saved in zip(uploads, (5 * MIB, 25 * MIB, 25 * MIB, 9 * MIB), (1, 0, 1, 0), strict=True):
        dead = await place.open()
        writer = dead.create(upload, Digest(), path_of(upload) if upload != uploads[2] else None)
        await writer.write(LARGE[:size])
        if saved:
            await writer.checkpoint()
        elif size > 8 * MIB or place.kind == "local":
            await writer.finish()
        await writer.suspend()  # as the system does with its files
    path = await put(store, b"kept")
    assert [leftover async for leftover in store.leftovers(time.time() - 60)] == []
    found = [leftover async for leftover in store.leftovers(time.time() + 60)]
    assert {leftover.upload_id for leftover in found} == set(uploads)
    for leftover in found:
        await store.drop(leftover)
        await store.drop(leftover)
    await store.delete(path)
    await nothing_left(store)


async def test_a_store_says_whether_it_can_be_written(store: BlobStore) -> None:
    await store.check()
    await nothing_left(store)


async def test_many_are_deleted_together(store: BlobStore) -> None:
    """With what is gone already among them, and beside one that stays."""
    paths = [await put(store, b"x") for _ in range(20)]
    await store.delete_all([*paths[1:], path_of(uuid4())])
    assert await listed(store.walk("customers/")) == {paths[0]: 1}
    await store.delete_all([])


async def test_long_listings_come_page_by_page(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.upload.blobs.parts.LISTED", 20)
    store, asked = await place.open(), 0
    folder = f"customers/{uuid4()}/documents"
    await store.copy(await put(store, b"x"), f"{folder}/first.bin")
    names = [f"{folder}/{uuid4()}.bin" for _ in range(49)]
    await asyncio.gather(*(store.copy(f"{folder}/first.bin", name) for name in names))
    wire = getattr(store, "_wire", None)
    if wire is not None:
        ask = wire.ask

        async def counted(request: Request, **options: bool) -> Answer:
            nonlocal asked
            asked += 1
            return await ask(request, **options)  # type: ignore[no-any-return]

        monkeypatch.setattr(wire, "ask", counted)
    found = store.walk(f"{folder}/")
    seen = {(await anext(found)).path}
    assert asked == (0 if wire is None else 1)
    seen |= {entry.path async for entry in found}
    assert asked == {"local": 0, "gcs": 1}.get(place.kind, 3)  # the emulator gives everything at once
    assert seen == {f"{folder}/first.bin", *names}
