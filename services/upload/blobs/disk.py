"""What the local disk and the spool of the object stores share."""

import contextlib
import errno
import logging
import os
from collections.abc import Iterator, Sequence

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
