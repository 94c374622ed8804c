"""Terms that have changed, heard of in the moment they are committed, from whichever process."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg

log = logging.getLogger(__name__)

CHANNEL = "upload_terms"
BEAT = 5.0  # seconds between looks whether the connection still carries, and for each answer
PAUSE = 0.5  # seconds before the next try

_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)  # TimeoutError is an OSError


class News:
    """One connection that listens. `forget` is called with a tenant, or with None for all: after a silence nobody knows
    what was missed.
    """

    def __init__(self, dsn: str, forget: Callable[[UUID | None], object]) -> None:
        self._dsn = dsn
        self._forget = forget
        self.listening = False  # what is remembered may be trusted

    async def run(self) -> None:
        """Until cancelled; makes a new connection when one breaks."""
        while True:
            try:
                await self._listen()
            except _LOST as error:
                log.warning("terms are asked for until their changes are heard of again: %s", error)
            await asyncio.sleep(PAUSE)

    async def _listen(self) -> None:
        named = {"application_name": CHANNEL}
        connection: Any = await asyncpg.connect(self._dsn, timeout=BEAT, server_settings=named)
        try:
            connection.add_termination_listener(self._lose)
            await connection.add_listener(CHANNEL, self._hear)
            self._forget(None)
            self.listening = True
            while not connection.is_closed():
                await asyncio.sleep(BEAT)
                # A connection that is cut off is silent, as one without news is.
                await connection.execute("SELECT 1", timeout=BEAT)
        finally:
            self._lose()
            with contextlib.suppress(*_LOST):
                connection.terminate()

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._forget(UUID(str(payload)))

    def _lose(self, *_: object) -> None:
        self.listening = False
