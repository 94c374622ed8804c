"""`tenants.v1`: the time zone in which a team's months and days of ads are."""

from collections.abc import Sequence
from typing import Any

from services.billing.credits import repository
from shared.events import TenantEvent
from shared.kafka import Record
from shared.kafka.sequence import last_seq
from shared.zones import known_zone


class ZoneHandler:
    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        """The newest of each team is the whole truth."""
        zones = {r.tenant_id: r.event.timezone for r in records if isinstance(r.event, TenantEvent)}
        for tenant in sorted(zones):
            await repository.set_timezone(connection, tenant, known_zone(zones[tenant]))

    async def replay(self, connection: Any, records: Sequence[Record]) -> None:
        """Left out once: whatever came after it is newer."""
        for record in records:
            await repository.lock(connection, record.tenant_id)
            if record.seq >= await last_seq(connection, record.topic, record.tenant_id):
                await self.apply(connection, [record])
