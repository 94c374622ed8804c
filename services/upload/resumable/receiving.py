"""The body of one request, taken into an upload."""

import asyncio
from collections.abc import AsyncIterator

from services.upload.errors import FileTooLarge, QuotaExceeded
from services.upload.intake.incoming import Incoming
from services.upload.resumable.checksums import RunningChecksum
from services.upload.resumable.errors import ChecksumMismatch, Stopping, Superseded
from services.upload.resumable.rules import Checksum
from services.upload.resumable.session import Sessions
from services.upload.resumable.turns import Turn
from shared.http import Body, ClientGone, RequestTimeout

WORTH = 16 * 1024 * 1024  # bytes of a long body that are worth making safe before its end
SOON, LATE = 1.0, 10.0  # seconds between that at least, and when even less is made safe

_ENDINGS = (ClientGone, RequestTimeout, QuotaExceeded, FileTooLarge, Superseded, Stopping)


async def receive(turn: Turn, incoming: Incoming, sessions: Sessions, body: Body) -> None:
    """What came is safe also when the body ends early; then whatever ended it is raised."""
    pace = _Pace(incoming.received)
    try:
        async for piece in turn.pieces(body):
            await incoming.write(piece)
            await incoming.drain(body)
            if pace.due(incoming.received):
                await sessions.save(turn, incoming, release=False)
    except _ENDINGS:
        if not turn.lost:
            await sessions.save(turn, incoming, release=True)
        raise
    await sessions.save(turn, incoming, release=incoming.received != turn.upload.length)


async def receive_checked(incoming: Incoming, body: AsyncIterator[bytes], wanted: Checksum) -> None:
    """All or nothing: what cannot be checked is not made safe. Raises ChecksumMismatch."""
    checksum = RunningChecksum(wanted)
    async for piece in body:
        await incoming.write(piece)
        await checksum.update(piece)
    if not await checksum.matches():
        raise ChecksumMismatch


class _Pace:
    """When the middle of a long body is made safe: a crash then costs a second of sending, or 16 MiB, or 10 seconds of
    a slow line.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    def due(self, received: int) -> bool:
        waited = self._loop.time() - self._since
        if waited < SOON or (waited < LATE and received - self._offset < WORTH):
            return False
        self._offset, self._since = received, self._since + waited
        return True
