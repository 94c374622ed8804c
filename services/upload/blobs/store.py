"""Where bytes live. A blob is written under its upload's id, out of sight, and gets its path when it is whole."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Written:
    """What arrived: bytes, sha256 in hex, and the first bytes for sniffing the media type."""

    size: int
    sha256: str
    head: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """One object of the store's listing."""

    path: str
    size: int
    modified: float  # seconds since the epoch


class BlobWriter(Protocol):
    """One upload's bytes, at most a few MiB of them in memory."""

    async def write(self, chunk: bytes) -> None: ...

    async def finish(self) -> Written:
        """Everything handed over is hashed; nothing is durable yet."""
        ...

    async def place(self, path: str) -> None:
        """Makes the blob durable under its path: file and folder are synced when this returns."""
        ...

    async def abort(self) -> None:
        """Leaves no byte behind. Safe to call at any time, also after `place`."""
        ...


class BlobStore(Protocol):
    def create(self, upload_id: UUID) -> BlobWriter: ...

    def read(self, path: str, start: int, length: int) -> AsyncIterator[bytes]:
        """`length` bytes from `start`; raises FileNotFoundError before the first one when there is no such blob."""
        ...

    async def exists(self, path: str) -> bool: ...

    async def delete(self, path: str) -> None:
        """Nothing happens when it is gone already."""
        ...

    async def walk(self, prefix: str) -> list[Found]: ...

    async def stale_uploads(self, older_than: float) -> list[UUID]:
        """Uploads begun before that time (seconds since the epoch) and never placed."""
        ...

    async def drop_upload(self, upload_id: UUID) -> None: ...

    async def check(self) -> None:
        """Raises when the store cannot be written."""
        ...
