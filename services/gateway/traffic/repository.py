from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from shared import outbox
from shared.events import TrafficRecorded

_LOCK = "SELECT seq FROM outbox_head WHERE topic = $1 AND tenant_id = $2 FOR UPDATE"

_HAS = """
    SELECT EXISTS (
        SELECT FROM (
            SELECT body FROM outbox_event WHERE topic = $1 AND tenant_id = $2 ORDER BY seq DESC LIMIT 1000
        ) AS newest
        WHERE body = $3
    )
"""


class TrafficRepository:
    """The outbox of many tenants. Runs inside the caller's transaction, which names each of them in turn."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def append(self, events: Iterable[TrafficRecorded], at: datetime) -> None:
        """Events of one tenant stand together."""
        for tenant, own in groupby(events, key=attrgetter("tenant_id")):
            await self._speak_for(tenant)
            mine = list(own)
            # A sum of many requests belongs to no trace.
            await outbox.append(self._connection, mine, at=at, traceparents=[None] * len(mine))

    async def has(self, event: TrafficRecorded) -> bool:
        """Whether it was written lately. Waits for a transaction that is still writing it."""
        await self._speak_for(event.tenant_id)
        await self._connection.execute(_LOCK, event.topic, event.tenant_id)
        return bool(await self._connection.fetchval(_HAS, event.topic, event.tenant_id, event.body()))

    async def _speak_for(self, tenant: UUID) -> None:
        await self._connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant))
