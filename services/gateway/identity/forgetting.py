"""Memberships that have changed are seen at once, in every process of the gateway."""

from collections.abc import Callable
from uuid import UUID

from shared.outbox import Listener

CHANNEL = "people"


class Forgetting:
    """Listens for people whose memberships are others now. A notice that was lost costs what is kept at most anyway."""

    def __init__(self, dsn: str, forget: Callable[[UUID], object]) -> None:
        self._dsn = dsn
        self._forget = forget

    async def run(self) -> None:
        """Until cancelled."""
        async with Listener(self._dsn, CHANNEL) as listener:
            while True:
                for user in await listener.wait(60):
                    self._forget(UUID(user))
