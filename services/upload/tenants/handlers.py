"""`tenants.v1`, a batch at a time: the time zone a tenant's months are of, and whether it is still there."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.upload.tenants import repository
from shared.events import TenantDeleted, TenantEvent
from shared.kafka import Record
from shared.kafka.sequence import last_seq
from shared.zones import known_zone


async def on_tenants(connection: Any, records: Sequence[Record]) -> None:
    """The newest of each tenant is the whole truth, but for a deletion: nothing that follows undoes it."""
    news: dict[UUID, dict[str, Any]] = {}
    for record in records:
        if not isinstance(record.event, TenantEvent):
            continue
        tenant = record.tenant_id
        deleted_at = news.get(tenant, {}).get("deleted_at")
        if isinstance(record.event, TenantDeleted):
            deleted_at = deleted_at or record.time.isoformat()
        zone = known_zone(record.event.timezone)
        news[tenant] = {"tenant_id": str(tenant), "timezone": zone, "deleted_at": deleted_at}
    if news:
        await repository.upsert(connection, [news[tenant] for tenant in sorted(news)])


async def replay_tenant(connection: Any, record: Record) -> None:
    """One that was left out. Whatever came after it is newer, so only a deletion still tells something then."""
    if not isinstance(record.event, TenantEvent):
        return
    # Whoever brings news holds this lock until its position is stored: what is read under it is how far we are.
    await repository.lock(connection, [record.tenant_id])
    newest = await last_seq(connection, record.topic, record.tenant_id)
    if isinstance(record.event, TenantDeleted) or record.seq >= newest:
        await on_tenants(connection, [record])
