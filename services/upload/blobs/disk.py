"""What the local disk and the spool of the object stores share."""

import contextlib
import ctypes
import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence

from services.upload.blobs.digest import Buffer
from services.upload.blobs.store import StoreFull, StoreUnavailable

log = logging.getLogger(__name__)

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """A disk's troubles in the words of a store."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        log.error("the disk refuses: %s", error)
        raise (StoreFull() if error.errno in FULL else StoreUnavailable()) from error


def write_all(file: int, chunks: Sequence[Buffer], offset: int) -> None:
    left = [memoryview(chunk) for chunk in chunks if chunk]
    while left:
        written = os.pwritev(file, left[:512], offset)
        offset += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left and written:
            left[0] = left[0][written:]


def begin_writing(file: int, start: int, size: int) -> None:
    """Sets the disk to work on what the page cache holds of a file there. Waits for nothing."""
    if _sync_file_range is None:
        os.posix_fadvise(file, start, size, os.POSIX_FADV_DONTNEED)
    else:
        _sync_file_range(file, start, size, _WRITE)  # a hint: what fails here fails again at the sync


def _found_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Python has no name for it, and not every system has it."""
    found = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found


_WRITE = 2  # SYNC_FILE_RANGE_WRITE
_sync_file_range = _found_sync_file_range()
