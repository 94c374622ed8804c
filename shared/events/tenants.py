"""`tenants.v1` (compacted): each record is the tenant's whole state, the newest wins."""

from typing import ClassVar
from uuid import UUID

from shared.events.base import Event


class TenantEvent(Event):
    topic: ClassVar[str] = "tenants.v1"

    slug: str
    name: str
    owner_id: UUID
    owner_email: str
    timezone: str  # IANA name, "UTC" unless chosen
    locale: str


class TenantCreated(TenantEvent):
    type: ClassVar[str] = "tenant.created"


class TenantUpdated(TenantEvent):
    type: ClassVar[str] = "tenant.updated"


class TenantDeleted(TenantEvent):
    type: ClassVar[str] = "tenant.deleted"
