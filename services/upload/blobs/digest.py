"""What is learned of bytes as they pass: how many, their sha256, and the first of them."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from typing import Self

Buffer = bytes | bytearray | memoryview
HEAD = 4096  # bytes kept for sniffing the media type


class Digest:
    """`update` may run in a thread, one at a time. `copy` is cheap, so that a chunk can be taken back."""

    def __init__(self) -> None:
        self.size = 0
        self.head = b""
        self._hash = hashlib.sha256()

    def update(self, chunks: Iterable[Buffer]) -> None:
        for chunk in chunks:
            if len(self.head) < HEAD:
                self.head += bytes(chunk[: HEAD - len(self.head)])
            self._hash.update(chunk)
            self.size += len(chunk)

    @property
    def sha256(self) -> str:
        """In hex."""
        return self._hash.hexdigest()

    def copy(self) -> Self:
        other = type(self)()
        other.size, other.head, other._hash = self.size, self.head, self._hash.copy()  # noqa: SLF001 - its own
        return other

    @classmethod
    async def of(cls, chunks: AsyncIterator[bytes]) -> Self:
        """Of bytes read back, for uploads whose digest died with a process."""
        import asyncio

        digest = cls()
        async for chunk in chunks:
            await asyncio.to_thread(digest.update, [chunk])
        return digest
