"""Where bytes live. A blob is written under its upload's id, out of sight, and gets its path when it is whole."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol
from uuid import UUID

from services.upload.blobs.digest import Digest
from shared.errors import DomainError
from shared.http import Take


class StoreUnavailable(DomainError):
    """The store did not answer, or not with sense, until the deadline."""

    def __init__(self) -> None:
        super().__init__("store_unavailable", 503, "The object store does not answer just now; try again.")


class Occupied(StoreUnavailable):
    """Another upload's blob has the path: it is never written over, and not this upload's to remove."""


class StoreFull(DomainError):
    """The store has no room, or may not be written."""

    def __init__(self) -> None:
        super().__init__("store_full", 507, "The object store cannot take the file.")


@dataclass(frozen=True, slots=True)
class Found:
    """One object of the store's listing."""

    path: str
    size: int
    modified: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Leftover:
    """An upload begun and never placed; `handle` is the store's own name for it, `size` in bytes."""

    upload_id: UUID
    handle: str
    size: int


def upload_of(path: str) -> UUID | None:
    """Whose blob, staged object or part it is: the last word of a path says it up to its first dot."""
    try:
        return UUID(path.rsplit("/", 1)[-1].split(".", maxsplit=1)[0])
    except ValueError:
        return None


class BlobWriter(Protocol):
    """One upload's bytes, at most a few MiB of them in memory. Raises StoreUnavailable, StoreFull."""

    def aim(self, path: str) -> None:
        """Where the blob is likely to go, as far as it is known before the first byte; another place costs a copy."""
        ...

    async def write(self, chunk: bytes) -> None: ...

    @property
    def take(self) -> Take | None:
        """Writes what has arrived at a connection, past the event loop; None where only `write` goes."""
        ...

    async def checkpoint(self) -> dict[str, Any]:
        """Everything written so far is safe when this returns; what `BlobStore.resume` needs to go on from here."""
        ...

    async def counted(self) -> None:
        """Everything written has reached the digest. Also after `suspend`."""
        ...

    async def finish(self) -> None:
        """Everything written has reached the digest; nothing is visible yet."""
        ...

    async def place(self, path: str) -> None:
        """Makes the blob durable and visible under its path. Nothing names it before this has returned: a listing may
        show less of it until then, or for good if the process dies meanwhile. Raises Occupied.
        """
        ...

    async def suspend(self) -> None:
        """Lets go of it: what was safe at the last checkpoint stays, the rest is dropped."""
        ...

    async def abort(self) -> None:
        """Leaves no byte behind. Safe to call at any time, also after `place`."""
        ...


class BlobStore(Protocol):
    """Every method raises StoreUnavailable when the store cannot be reached until its deadline."""

    def create(self, upload_id: UUID, digest: Digest, path: str | None = None) -> BlobWriter:
        """`path`, if it is known already, spares some stores a copy."""
        ...

    def resume(
        self, upload_id: UUID, state: Mapping[str, Any], offset: int, digest: Digest | None, path: str | None = None
    ) -> BlobWriter:
        """Goes on after `offset` bytes, from what `checkpoint` said then. Without a digest nothing is hashed."""
        ...

    def read(self, path: str, start: int, length: int) -> AsyncIterator[bytes]:
        """`length` bytes from `start`; raises FileNotFoundError before the first one when there is no such blob."""
        ...

    async def open_file(self, path: str, size: int) -> IO[bytes] | None:
        """The blob of `size` bytes where it lies, if that is a disk of this machine: nothing need be copied to move
        about in it. Reading raises StoreUnavailable. Raises FileNotFoundError, OSError where it is shorter.
        """
        ...

    async def stat(self, path: str) -> Found | None: ...

    async def copy(self, source: str, target: str) -> None:
        """Within the store, without the bytes passing here where it can. Raises FileNotFoundError."""
        ...

    async def delete(self, path: str) -> None:
        """Nothing happens when it is gone already."""
        ...

    async def delete_all(self, paths: Sequence[str]) -> None:
        """Many, in as few requests as the store allows, or side by side. When it raises, some may be gone."""
        ...

    def walk(self, prefix: str) -> AsyncIterator[Found]:
        """Everything below, in no particular order."""
        ...

    def leftovers(self, older_than: float) -> AsyncIterator[Leftover]:
        """Uploads begun before that time (seconds since the epoch) and never placed, whoever began them."""
        ...

    async def drop(self, leftover: Leftover) -> None: ...

    async def open(self) -> None:
        """Once, before anything else: makes the bucket, the folder, where it is missing."""
        ...

    async def check(self) -> None:
        """Raises when the store cannot be written."""
        ...

    async def close(self) -> None: ...
