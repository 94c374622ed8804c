"""All SQL on what plans allow. Runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.events import Entitlements, EntitlementsChanged

_FIND = "SELECT granted FROM tenant_entitlement WHERE tenant_id = $1"

# An older version never replaces a newer one, whichever way it came; rows are locked in the order of tenants.
_UPSERT = """
    INSERT INTO tenant_entitlement AS t (tenant_id, version, plan, granted, updated_at)
    SELECT n.*, $5::timestamptz FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::jsonb[]) AS n ORDER BY 1
    ON CONFLICT (tenant_id) DO UPDATE
    SET version = excluded.version, plan = excluded.plan, granted = excluded.granted, updated_at = excluded.updated_at
    WHERE t.version < excluded.version
"""


async def find(connection: Any, tenant: UUID) -> Entitlements | None:
    found = await connection.fetchval(_FIND, tenant)
    return None if found is None else Entitlements.model_validate(found)


async def upsert(connection: Any, told: Sequence[EntitlementsChanged], at: datetime) -> None:
    """Each tenant's newest of what is told, unless a newer is known."""
    newest = {event.tenant_id: event for event in sorted(told, key=_version)}
    events = list(newest.values())
    await connection.execute(
        _UPSERT,
        [event.tenant_id for event in events],
        [event.version for event in events],
        [event.plan for event in events],
        [event.entitlements.model_dump(mode="json") for event in events],
        at,
    )


def _version(event: EntitlementsChanged) -> int:
    return event.version
