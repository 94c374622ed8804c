"""What each tenant may store, by event as it changes, and by asking once when it was never heard of."""

import time
from typing import Any
from uuid import UUID

from services.upload.errors import EntitlementsUnknown
from shared.db import Database
from shared.errors import UpstreamError
from shared.events import Entitlements, EntitlementsChanged
from shared.http import ServiceClient

# An older version never replaces a newer one, whichever way it came.
_UPSERT = """
    INSERT INTO tenant_storage AS t (tenant_id, plan, limit_bytes, max_file_bytes, entitlements_version)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
    ON CONFLICT (tenant_id) DO UPDATE SET plan = excluded.plan, limit_bytes = excluded.limit_bytes,
        max_file_bytes = excluded.max_file_bytes, entitlements_version = excluded.entitlements_version
    WHERE t.entitlements_version < excluded.entitlements_version
"""

REMEMBERED = 10_000  # tenants

_MAX_FILE = "SELECT max_file_bytes FROM tenant_storage WHERE tenant_id = $1"


class EntitlementService:
    def __init__(self, database: Database, billing: ServiceClient) -> None:
        self._database = database
        self._billing = billing
        self._max_file: dict[UUID, tuple[float, int | None]] = {}  # with the time each is good until

    async def pull(self, tenant: UUID) -> None:
        """Asks billing, which gives a new tenant the free plan. Raises EntitlementsUnknown: when in doubt, refuse."""
        try:
            told = await self._billing.request_json("GET", f"/internal/entitlements/{tenant}")
            entitlements = Entitlements.model_validate(told["entitlements"])
        except (UpstreamError, ValueError, KeyError, TypeError) as error:
            raise EntitlementsUnknown from error
        event = EntitlementsChanged(
            tenant_id=tenant,
            version=told["version"],
            plan=told["plan"],
            plan_version=told["plan_version"],
            entitlements=entitlements,
        )
        async with self._database.transaction(tenant) as connection:
            await upsert(connection, [event])

    async def max_file_bytes(self, tenant: UUID, *, fresh: bool = False) -> int | None:
        """The plan's largest file; None where the plan does not say (or nothing is known yet: the reservation asks).

        Unless it has to be `fresh` it may be a second old.
        """
        now = time.monotonic()
        known = self._max_file.get(tenant)
        if known is not None and known[0] > now and not fresh:
            return known[1]
        async with self._database.transaction(tenant) as connection:
            found: int | None = await connection.fetchval(_MAX_FILE, tenant)
        if len(self._max_file) > REMEMBERED:
            self._max_file.clear()
        self._max_file[tenant] = (now + 1, found)
        return found


async def upsert(connection: Any, events: list[EntitlementsChanged]) -> None:
    """Inside the caller's transaction. Sorted, so that two writers lock rows in the same order."""
    newest: dict[UUID, EntitlementsChanged] = {}
    for event in events:
        known = newest.get(event.tenant_id)
        if known is None or known.version < event.version:
            newest[event.tenant_id] = event
    ordered = [newest[tenant] for tenant in sorted(newest)]
    await connection.execute(
        _UPSERT,
        [event.tenant_id for event in ordered],
        [event.plan for event in ordered],
        [event.entitlements.storage_bytes for event in ordered],
        [event.entitlements.max_file_bytes for event in ordered],
        [event.version for event in ordered],
    )
