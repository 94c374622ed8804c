"""Looking at dead letters and deciding about them. Replaying itself is the worker's."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import Database
from shared.dead_letters import repository
from shared.dead_letters.errors import AlreadyResolved, DeadLetterNotFound, NotReplayable


class DeadLetterService:
    """Of one service. `wake` tells its workers; without it they look by themselves. `by`: who decides."""

    def __init__(self, database: Database, wake: Callable[[], object]) -> None:
        self._database = database
        self._wake = wake

    async def list_newest(
        self, limit: int, before: tuple[datetime, UUID] | None, topic: str | None, state: str
    ) -> list[Any]:
        async with self._database.transaction() as connection:
            return await repository.list_newest(connection, limit, before, topic, state)

    async def get(self, letter: UUID) -> Any:
        """With its headers and its value. Raises DeadLetterNotFound."""
        async with self._database.transaction() as connection:
            found = await repository.find(connection, letter)
        if found is None:
            raise DeadLetterNotFound
        return found

    async def replay(self, letter: UUID, by: str) -> Any:
        """Asks the workers for it. Raises DeadLetterNotFound, AlreadyResolved, NotReplayable."""
        async with self._database.transaction() as connection:
            found = await _lock_waiting(connection, letter)
            if not found["replayable"]:
                raise NotReplayable(found["error"])
            asked = await repository.request(connection, letter, by)
        self._wake()
        return asked

    async def replay_all(self, topic: str | None, by: str) -> int:
        """Asks for all that wait and can be replayed; returns how many that are."""
        async with self._database.transaction() as connection:
            requested = await repository.request_all(connection, topic, by)
        self._wake()
        return requested

    async def discard(self, letter: UUID, by: str, reason: str) -> Any:
        """Raises DeadLetterNotFound, AlreadyResolved."""
        async with self._database.transaction() as connection:
            await _lock_waiting(connection, letter)
            return await repository.discard(connection, letter, by, reason)


async def _lock_waiting(connection: Any, letter: UUID) -> Any:
    found = await repository.lock(connection, letter)
    if found is None:
        raise DeadLetterNotFound
    if found["state"] != "waiting":
        raise AlreadyResolved(found["state"])
    return found
