"""A file is hashed as it is read back, while it is written and after it was let go of."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from services.upload.blobs.behind import FARTHEST, PIECE, Behind, Counters
from services.upload.blobs.digest import Digest

BYTES = os.urandom(FARTHEST + 3 * PIECE + 12345)


@pytest.fixture
def counters() -> Iterator[Counters]:
    counters = Counters()
    yield counters
    counters.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "staged").open("w+b", buffering=0) as file:
        yield file


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("step", [1000, PIECE // 3, PIECE, 5 * PIECE])
def test_all_of_it_in_its_order(counters: Counters, file: IO[bytes], step: int) -> None:
    digest = Digest()
    behind = Behind(counters, file.fileno(), digest, 0)
    for start in range(0, len(BYTES), step):
        file.write(BYTES[start : start + step])
        behind.reach(file.tell())
        assert file.tell() - digest.size <= FARTHEST + PIECE
    behind.catch_up()
    assert (digest.size, digest.sha256) == (len(BYTES), hashlib.sha256(BYTES).hexdigest())
    behind.stop()


def test_it_goes_on_from_where_somebody_else_had_counted(counters: Counters, file: IO[bytes]) -> None:
    digest = Digest()
    digest.update([BYTES[:100]])
    file.write(BYTES)
    behind = Behind(counters, file.fileno(), digest, 100)
    behind.reach(len(BYTES))
    behind.catch_up()
    assert digest.sha256 == hashlib.sha256(BYTES).hexdigest()
    behind.stop()


def test_it_counts_to_the_end_of_a_file_that_is_closed_and_gone(counters: Counters, tmp_path: Path) -> None:
    before, digest, path = open_descriptors(), Digest(), tmp_path / "staged"
    with path.open("w+b", buffering=0) as file:
        file.write(BYTES)
        behind = Behind(counters, file.fileno(), digest, 0)
        behind.reach(len(BYTES))
        behind.end()
    path.unlink()
    behind.catch_up()
    assert digest.sha256 == hashlib.sha256(BYTES).hexdigest()
    assert open_descriptors() == before


def test_bytes_that_are_not_there_are_an_error_and_not_a_hash(counters: Counters, file: IO[bytes]) -> None:
    before = open_descriptors()
    file.write(BYTES[:PIECE])
    behind = Behind(counters, file.fileno(), Digest(), 0)
    with pytest.raises(OSError, match="shorter"):
        behind.reach(2 * PIECE)
        behind.catch_up()
    with pytest.raises(OSError, match="shorter"):
        behind.catch_up()
    behind.stop()
    assert open_descriptors() == before


def test_what_is_stopped_lets_go_at_once(counters: Counters, file: IO[bytes]) -> None:
    before, digest = open_descriptors(), Digest()
    file.write(BYTES)
    behind = Behind(counters, file.fileno(), digest, 0)
    behind.reach(FARTHEST)
    behind.stop()
    assert open_descriptors() == before
    counted = digest.size
    behind.catch_up()
    assert digest.size == counted
