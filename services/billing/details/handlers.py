"""`tenants.v1`: a team's name, its owner's address and its language, for invoices nobody entered details for."""

from collections.abc import Sequence
from typing import Any

from services.billing.details import repository
from shared.events import TenantDeleted, TenantEvent
from shared.kafka import Record


async def keep_cards(connection: Any, records: Sequence[Record]) -> None:
    """The newest record of a tenant is its whole state."""
    newest = {record.tenant_id: record.event for record in records if isinstance(record.event, TenantEvent)}
    for tenant in sorted(newest):
        event = newest[tenant]
        if isinstance(event, TenantDeleted):
            await repository.forget(connection, tenant)
        elif isinstance(event, TenantEvent):
            await repository.keep_card(connection, tenant, event.name, event.owner_email, event.locale)
