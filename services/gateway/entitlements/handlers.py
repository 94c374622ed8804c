"""`entitlements.v1`: what each tenant's plan allows."""

from collections.abc import Sequence
from typing import Any

from services.gateway.entitlements import repository
from shared.clock import Clock
from shared.events import EntitlementsChanged
from shared.kafka import Record


class EntitlementHandler:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        """Safe to repeat, and in any order."""
        told = [record.event for record in records if isinstance(record.event, EntitlementsChanged)]
        if told:
            await repository.upsert(connection, told, self._clock.now())
