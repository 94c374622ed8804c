"""The checksum of what one request brings."""

import asyncio
import hashlib
import hmac
import zlib

from services.upload.resumable.rules import Checksum

BATCH = 1024 * 1024  # bytes hashed together, in a thread
SMALL = 64 * 1024  # bytes that are hashed faster than handed to a thread


class Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class RunningChecksum:
    def __init__(self, wanted: Checksum) -> None:
        self._wanted = wanted.digest
        algorithm = wanted.algorithm
        self._hash = Crc32() if algorithm == "crc32" else hashlib.new(algorithm, usedforsecurity=False)
        self._pieces: list[bytes] = []
        self._size = 0

    async def update(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= BATCH:
            await asyncio.to_thread(self._feed)

    async def matches(self) -> bool:
        if self._size > SMALL:
            await asyncio.to_thread(self._feed)
        self._feed()
        return hmac.compare_digest(self._hash.digest(), self._wanted)

    def _feed(self) -> None:
        for piece in self._pieces:
            self._hash.update(piece)
        self._pieces, self._size = [], 0
