"""Small blobs that go to the disk together: what befalls one of them is no other's business."""

import asyncio
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.upload.blobs.store import Occupied
from services.upload.blobs.together import MOST, Together


def make_folders(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [folder.parent]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def together() -> Together:
    return Together(ThreadPoolExecutor(4), make_folders)


async def test_each_is_at_its_place_and_folders_are_synced_once(
    together: Together, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def noted(file: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{file}").readlink()))
        sync(file)

    monkeypatch.setattr(os, "fsync", noted)
    (tmp_path / "there").mkdir()
    blobs = {tmp_path / place / f"{number}": os.urandom(70) for place in ("there", "new/one") for number in range(5)}
    await asyncio.gather(*(together.write(str(path), [content[:30], content[30:]]) for path, content in blobs.items()))
    assert {path: path.read_bytes() for path in blobs} == blobs
    assert {str(path) for path in blobs} <= set(synced), "every blob"
    folders = [place for place in synced if place in {str(tmp_path / "there"), str(tmp_path / "new/one")}]
    assert 2 <= len(folders) <= 6, "not once for every blob"
    assert str(tmp_path / "new") in synced, "and where a folder was made"


async def test_more_than_a_round_and_one_after_the_other(together: Together, tmp_path: Path) -> None:
    await asyncio.gather(*(together.write(str(tmp_path / f"{number}"), [b"x"]) for number in range(5 * MOST)))
    await together.write(str(tmp_path / "last"), [])
    assert len(names(tmp_path)) == 5 * MOST + 1


async def test_one_that_fails_fails_alone(together: Together, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("another's")
    sync = os.fsync

    def full(file: int) -> None:
        if Path(f"/proc/self/fd/{file}").readlink().name == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    writes = [together.write(str(tmp_path / name), [b"mine"]) for name in ("a", "taken", "b", "full", "c")]
    a, taken, b, no_room, c = await asyncio.gather(*writes, return_exceptions=True)
    assert (a, b, c) == (None, None, None)
    assert isinstance(taken, Occupied)
    assert isinstance(no_room, OSError)
    assert (tmp_path / "taken").read_text() == "another's"
    assert (tmp_path / "c").read_text() == "mine"


async def test_a_folder_that_cannot_be_synced_fails_all_below_it(
    together: Together, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    sync = os.fsync

    def broken(file: int) -> None:
        if Path(f"/proc/self/fd/{file}").readlink() == tmp_path / "bad":
            raise OSError(errno.EIO, "Input/output error")
        sync(file)

    monkeypatch.setattr(os, "fsync", broken)
    paths = [tmp_path / folder / name for folder in ("good", "bad") for name in ("1", "2")]
    said = await asyncio.gather(*(together.write(str(path), [b"x"]) for path in paths), return_exceptions=True)
    assert said[:2] == [None, None]
    assert all(isinstance(error, OSError) for error in said[2:])


async def test_nobody_waits_for_one_who_has_left(together: Together, tmp_path: Path) -> None:
    left, stays = together.write(str(tmp_path / "left"), [b"x"]), together.write(str(tmp_path / "stays"), [b"x"])
    left.cancel()
    async with asyncio.timeout(5):
        await stays
        await together.write(str(tmp_path / "later"), [b"x"])
