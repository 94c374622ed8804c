"""`tenants.v1` and `entitlements.v1`, a batch at a time: who the tenants are, and how isolated. What that means for
their storage is settled afterwards.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from services.usage.tenants.models import Isolation
from services.usage.tenants.repository import TenantRepository
from shared.events import EntitlementsChanged, TenantDeleted, TenantEvent
from shared.kafka import Record
from shared.zones import known_zone


class TenantHandler:
    """`isolation` is the one new tenants get; `known` is told when there are tenants to provision or to remove."""

    def __init__(self, isolation: Isolation, known: Callable[[], object]) -> None:
        self._isolation = isolation
        self._known = known

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        """The newest of each tenant is the whole truth, but for a deletion: nothing that follows undoes it."""
        news: dict[UUID, dict[str, Any]] = {}
        for record in records:
            event = record.event
            if not isinstance(event, TenantEvent):
                continue
            deleted_at = news.get(event.tenant_id, {}).get("deleted_at")
            if isinstance(event, TenantDeleted):
                deleted_at = deleted_at or record.time.isoformat()
            news[event.tenant_id] = {
                "tenant_id": str(event.tenant_id),
                "slug": event.slug,
                "name": event.name,
                "owner_id": str(event.owner_id),
                "timezone": known_zone(event.timezone),
                "seq": record.seq,
                "deleted_at": deleted_at,
            }
        if news:
            await TenantRepository(connection).upsert([news[tenant] for tenant in sorted(news)], self._isolation)

    async def replay(self, connection: Any, records: Sequence[Record]) -> None:
        """An older record than the one that is known changes nothing."""
        await self.apply(connection, records)

    def on_committed(self, _records: Sequence[Record]) -> None:
        self._known()

    on_replayed = on_committed


class IsolationHandler:
    """What plans say of isolation. `otherwise`: what a tenant goes back to when its plan grants no schema any more."""

    def __init__(self, otherwise: Isolation, known: Callable[[], object]) -> None:
        self._otherwise = otherwise
        self._known = known

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        """The newest version of each tenant; an older one than the one that is known changes nothing."""
        newest: dict[UUID, EntitlementsChanged] = {}
        for event in (record.event for record in records):
            if isinstance(event, EntitlementsChanged):
                newest[event.tenant_id] = max(event, newest.get(event.tenant_id, event), key=_version)
        grants = [(tenant, newest[tenant].version, newest[tenant].entitlements.isolation) for tenant in sorted(newest)]
        if grants:
            await TenantRepository(connection).grant_isolation(grants, self._otherwise)

    replay = apply

    def on_committed(self, _records: Sequence[Record]) -> None:
        self._known()

    on_replayed = on_committed


def _version(event: EntitlementsChanged) -> int:
    return event.version
