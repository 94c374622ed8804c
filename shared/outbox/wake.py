"""Telling another process at once that something was committed, without slowing the commit.

A NOTIFY inside the business transaction would serialise all commits, so it goes out afterwards, in a statement of
its own, and many commits share one. When it is lost with its process, the listener's regular look finds the work.
"""

import asyncio
import contextlib
import logging
from typing import Any, Self

import asyncpg

from shared.db import Database

log = logging.getLogger(__name__)

# Nothing is written but the notice: losing it in a crash costs one poll, so it need not wait for the disk.
_NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)"


class Wake:
    """Sends notices on one channel, coalesced: one under way, one waiting."""

    def __init__(self, database: Database, channel: str = "outbox") -> None:
        self._database = database
        self._channel = channel
        self._pending: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def set(self, payload: str = "") -> None:
        """Returns at once. Call after the commit; payloads that wait together are sent together, by commas."""
        self._pending.add(payload)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._pending:
            # PostgreSQL refuses notices of 8000 bytes and more; an empty one means "look yourself".
            payload = ",".join(sorted(filter(None, self._pending)))
            self._pending.clear()
            try:
                async with self._database.acquire() as connection:
                    await connection.execute(_NOTIFY, self._channel, payload if len(payload) < 7500 else "")
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("a wake-up on %s was not sent (%s): the poll will find the work", self._channel, error)


class Listener:
    """Waits for notices on a connection of its own, and makes a new one when it breaks."""

    def __init__(self, dsn: str, channel: str = "outbox") -> None:
        self._dsn = dsn
        self._channel = channel
        self._event = asyncio.Event()
        self._payloads: set[str] = set()
        self._connection: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None and not self._connection.is_closed():
            self._connection.terminate()

    async def wait(self, timeout: float) -> set[str]:
        """Waits at most `timeout` seconds; returns the payloads heard, possibly none. A lost server is no error."""
        await self._connect()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._event.wait()
        self._event.clear()
        heard, self._payloads = self._payloads, set()
        return heard

    async def _connect(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            return
        try:
            self._connection = await asyncpg.connect(self._dsn, timeout=5)
            await self._connection.add_listener(self._channel, self._heard)
            # What was committed while nobody listened is found by looking once.
            self._event.set()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._connection = None

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._payloads.update(str(payload).split(","))
        self._event.set()
