"""ClamAV's daemon over TCP, by its command INSTREAM."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from services.upload.scans.rules import AnswerUnclear, Verdict, read_answer
from shared.errors import DomainError

ANSWER = 4096  # bytes an answer may have
CONNECT = 5.0  # seconds
PATIENCE = 120.0  # seconds for an answer, and a second more for each of these many bytes:
RATE = 1024 * 1024


class ScannerUnavailable(DomainError):
    """The scanner is away, too slow or in trouble; nothing is known of the file."""

    def __init__(self, detail: str) -> None:
        super().__init__("scanner_unavailable", 503, f"The scanner does not answer: {detail}")


class ClamAV:
    """`url`: tcp://host:port. `limit`: bytes it looks at (StreamMaxLength, MaxFileSize, MaxScanSize)."""

    def __init__(self, url: str, limit: int) -> None:
        where = urlsplit(url)
        self._host, self._port = where.hostname, where.port
        self._limit = limit

    async def scan(self, chunks: AsyncIterator[bytes], size: int) -> Verdict:
        """Of `size` bytes that are read as the scanner takes them. Raises ScannerUnavailable, and what `chunks` raises.

        A larger file is not sent at all: some versions call clean what they did not look at.
        """
        if size > self._limit:
            return Verdict("too_large", "SCAN_SIZE_LIMIT")
        try:
            async with asyncio.timeout(PATIENCE + size / RATE):
                return read_answer(await self._ask(chunks))
        except (TimeoutError, AnswerUnclear) as error:
            raise ScannerUnavailable(str(error) or "it is too slow") from error

    async def _ask(self, chunks: AsyncIterator[bytes]) -> bytes:
        try:
            async with asyncio.timeout(CONNECT):
                reader, writer = await asyncio.open_connection(self._host, self._port)
        except OSError as error:
            raise ScannerUnavailable(str(error)) from error
        # Read from the beginning: it may answer in the middle and hang up.
        answer = asyncio.create_task(_read(reader))
        try:
            await _send(writer, chunks, answer)
            return await answer
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _send(writer: asyncio.StreamWriter, chunks: AsyncIterator[bytes], answer: asyncio.Task[bytes]) -> None:
    writer.write(b"zINSTREAM\0")
    async for chunk in chunks:
        if answer.done():
            return
        if chunk:
            writer.write(struct.pack(">I", len(chunk)))
            writer.write(chunk)
        try:
            await writer.drain()
        except OSError:
            return  # what it had to say is in the answer
    writer.write(bytes(4))


async def _read(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    try:
        while len(answer) < ANSWER and not answer.endswith(b"\0"):
            piece = await reader.read(ANSWER)
            if not piece:
                break
            answer += piece
    except OSError as error:
        if not answer:
            raise ScannerUnavailable(str(error)) from error
    return answer
