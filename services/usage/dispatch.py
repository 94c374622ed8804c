from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol

from shared.kafka import Record


class Handler(Protocol):
    """Sees the records of its own topics, each tenant's in order."""

    async def apply(self, connection: Any, records: Sequence[Record]) -> None: ...

    def on_committed(self, records: Sequence[Record]) -> None: ...

    async def replay(self, connection: Any, records: Sequence[Record]) -> None:
        """Records that were gone past without their effect."""

    def on_replayed(self, records: Sequence[Record]) -> None: ...


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One consumer's records to those they concern, in the batch's one transaction.

    In the order of the handlers: tenants are locked before counters, wherever both are.
    """

    handlers: Sequence[tuple[frozenset[str], Handler]]  # by topics

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        for handler, mine in self._parted(records):
            await handler.apply(connection, mine)

    def on_committed(self, records: Sequence[Record]) -> None:
        for handler, mine in self._parted(records):
            handler.on_committed(mine)

    async def replay(self, connection: Any, records: Sequence[Record]) -> None:
        for handler, mine in self._parted(records):
            await handler.replay(connection, mine)

    def on_replayed(self, records: Sequence[Record]) -> None:
        for handler, mine in self._parted(records):
            handler.on_replayed(mine)

    def _parted(self, records: Sequence[Record]) -> list[tuple[Handler, Sequence[Record]]]:
        """The very same list for a handler that is concerned by all."""
        there = set(map(_topic, records))
        return [
            (handler, records if there <= topics else [r for r in records if r.topic in topics])
            for topics, handler in self.handlers
            if there & topics
        ]


_topic = attrgetter("topic")
