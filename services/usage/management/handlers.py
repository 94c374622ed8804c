"""`files.v1`, a batch at a time: what was deleted for good, by day."""

from collections.abc import Sequence
from typing import Any

from services.usage.management.repository import ManagementRepository
from services.usage.management.rules import days_of
from shared.events import FileDeleted
from shared.kafka import Record


class CleanupHandler:
    """Keeps the tenant's history of clean-ups. Comes after the counters, whose lock it writes under."""

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        # Exact types: isinstance asks pydantic's metaclass, for every record there is.
        deletions = [record.event for record in records if type(record.event) is FileDeleted]
        if deletions:
            await ManagementRepository(connection).add_days(days_of(deletions))

    async def replay(self, connection: Any, records: Sequence[Record]) -> None:
        await self.apply(connection, records)

    def on_committed(self, records: Sequence[Record]) -> None:
        """Nobody waits for it."""

    on_replayed = on_committed
