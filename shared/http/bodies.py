"""Reading a request's body as it comes, with a limit on patience."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Receive

from shared.errors import DomainError
from shared.http.rounds import Rounds

IDLE = 30.0  # seconds without a byte
CHUNKS = 8  # worked on before everybody else has a turn, each of them up to 256 KiB


class ClientGone(Exception):
    """The client hung up before its body was whole."""


class RequestTimeout(DomainError):
    def __init__(self) -> None:
        super().__init__("request_timeout", 408, "The body came too slowly.")


_chunks = Rounds(CHUNKS)


async def read_body(
    receive: Receive, *, idle: float = IDLE, minimum_rate: int = 1024, grace: float = 30.0
) -> AsyncIterator[bytes]:
    """Yields the chunks. Raises ClientGone, or RequestTimeout when nothing comes for `idle` seconds or, after
    `grace` seconds of waiting, the whole came at less than `minimum_rate` bytes a second.
    """
    loop = asyncio.get_running_loop()
    waited, total = 0.0, 0
    while True:
        # Only the wait for the client counts: a slow disk on our side is not its fault.
        since = loop.time()
        try:
            async with asyncio.timeout(idle):
                message = await receive()
        except TimeoutError:
            raise RequestTimeout from None
        waited += loop.time() - since
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        if chunk:
            total += len(chunk)
            await _chunks.turn()
            yield chunk
        if not message.get("more_body", False):
            return
        if waited > grace and total < waited * minimum_rate:
            raise RequestTimeout
