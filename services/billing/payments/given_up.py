"""Callbacks that could not be worked off, for an administrator to look at and to have tried again.

The table of dead letters does not fit: it holds records of Kafka streams by partition and offset, and replays them
outside of their order, while a callback goes back to its own place in the inbox, in front of what came later.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.errors import CallbackNotDead, CallbackNotFound
from services.billing.payments import inbox
from shared.clock import Clock
from shared.db import Database


class GivenUp:
    """`wake` tells the workers; without it they look by themselves."""

    def __init__(self, database: Database, clock: Clock, wake: Callable[[], object]) -> None:
        self._database = database
        self._clock = clock
        self._wake = wake

    async def list_newest(
        self, limit: int, before: tuple[datetime, UUID] | None, verdict: str | None, provider: str | None
    ) -> list[Any]:
        async with self._database.transaction() as connection:
            return await inbox.list_newest(connection, limit, before, verdict, provider)

    async def get(self, callback: UUID) -> Any:
        """With its body. Raises CallbackNotFound."""
        async with self._database.transaction() as connection:
            found = await inbox.find(connection, callback)
        if found is None:
            raise CallbackNotFound
        return found

    async def replay(self, callback: UUID, by: str) -> Any:
        """Raises CallbackNotFound, CallbackNotDead."""
        async with self._database.transaction() as connection:
            replayed = await inbox.replay(connection, callback, self._clock.now(), by)
        if replayed is None:
            raise CallbackNotDead((await self.get(callback))["verdict"])
        self._wake()
        return replayed
