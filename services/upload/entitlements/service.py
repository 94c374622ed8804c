"""What each tenant may store, by event as it changes, and by asking once when it was never heard of."""

import time
from typing import Any
from uuid import UUID

from services.upload.entitlements.news import News
from services.upload.entitlements.terms import Terms
from services.upload.errors import EntitlementsUnknown, NoPlan
from services.upload.tenants import repository as tenants
from shared.db import Database
from shared.errors import UpstreamError
from shared.events import Entitlements, EntitlementsChanged
from shared.http import ServiceClient

# An older version never replaces a newer one, whichever way it came. Whoever moves all files waits for accounts that
# are just being made, by the lock on where they begin.
_UPSERT = """
    INSERT INTO tenant_storage AS t (tenant_id, plan, limit_bytes, max_file_bytes, images_month, allowed_types,
        trash_days, entitlements_version, location)
    SELECT e.tenant_id, e.plan, e.storage_bytes, e.max_file_bytes, e.images_month, e.allowed_types, e.trash_days,
        e.version, n.location
    FROM jsonb_to_recordset($1::jsonb) AS e(tenant_id uuid, plan text, storage_bytes bigint, max_file_bytes bigint,
        images_month bigint, allowed_types text[], trash_days int, version bigint),
        (SELECT location FROM new_account FOR SHARE) AS n
    ON CONFLICT (tenant_id) DO UPDATE SET plan = excluded.plan, limit_bytes = excluded.limit_bytes,
        max_file_bytes = excluded.max_file_bytes, images_month = excluded.images_month,
        allowed_types = excluded.allowed_types, trash_days = excluded.trash_days,
        entitlements_version = excluded.entitlements_version
    WHERE t.entitlements_version < excluded.entitlements_version
"""

REMEMBERED = 10_000  # tenants

FRESH = 1.0  # seconds an answer may be repeated where nobody listens for changes

_TERMS = """
    SELECT plan, max_file_bytes, allowed_types, images_month, trash_days, versions_kept, timezone, location, deleted_at
    FROM tenant_storage WHERE tenant_id = $1
"""


class EntitlementService:
    def __init__(self, database: Database, billing: ServiceClient) -> None:
        self._database = database
        self._billing = billing
        self._terms: dict[UUID, tuple[float, Terms]] = {}  # with the time each is good until, unless news come
        self._forgotten = 0
        self.news = News(database.dsn, self._forget)

    async def pull(self, tenant: UUID) -> None:
        """Asks billing, which gives a new tenant the free plan. Raises EntitlementsUnknown: when in doubt, refuse;
        and NoPlan.
        """
        try:
            told = await self._billing.request_json("GET", f"/internal/entitlements/{tenant}")
            entitlements = Entitlements.model_validate(told["entitlements"])
        except (UpstreamError, ValueError, KeyError, TypeError) as error:
            gone = isinstance(error, UpstreamError) and error.status == 404
            raise (NoPlan if gone else EntitlementsUnknown) from error
        event = EntitlementsChanged(
            tenant_id=tenant,
            version=told["version"],
            plan=told["plan"],
            plan_version=told["plan_version"],
            entitlements=entitlements,
        )
        async with self._database.transaction(tenant) as connection:
            await upsert(connection, [event])

    async def terms(self, tenant: UUID, *, fresh: bool = False) -> Terms:
        """Without asking where they are known and changes are heard of. Where nobody listens, they may be a second old,
        or as old as the answer to who asks takes to come. `fresh` ones are asked for. Raises EntitlementsUnknown.
        """
        now = time.monotonic()
        known = self._terms.get(tenant)
        if known is not None and not fresh:
            if self.news.listening or known[0] > now:
                return known[1]
            # One asks, and whoever comes meanwhile goes by what was known: not all at once, every second.
            self._terms[tenant] = (now + FRESH, known[1])
        found = await self._read(tenant)
        if found is None:
            await self.pull(tenant)
            found = await self._read(tenant)
        if found is None:
            raise EntitlementsUnknown
        return found

    async def _read(self, tenant: UUID) -> Terms | None:
        """Remembers them, unless news came meanwhile: nobody knows which of both was first."""
        now, forgotten = time.monotonic(), self._forgotten
        async with self._database.transaction(tenant) as connection:
            row = await connection.fetchrow(_TERMS, tenant)
        if row is None:
            return None
        found = _terms_of(row)
        if forgotten == self._forgotten:
            if len(self._terms) > REMEMBERED:
                self._terms.clear()
            self._terms[tenant] = (now + FRESH, found)
        return found

    def _forget(self, tenant: UUID | None) -> None:
        self._forgotten += 1
        if tenant is None:
            self._terms.clear()
        else:
            self._terms.pop(tenant, None)


async def upsert(connection: Any, events: list[EntitlementsChanged]) -> None:
    """Inside the caller's transaction. Sorted, so that two writers lock rows in the same order."""
    newest: dict[UUID, EntitlementsChanged] = {}
    for event in events:
        known = newest.get(event.tenant_id)
        if known is None or known.version < event.version:
            newest[event.tenant_id] = event
    ordered = [newest[tenant] for tenant in sorted(newest)]
    rows = [
        {**e.entitlements.model_dump(mode="json"), "tenant_id": str(e.tenant_id), "plan": e.plan, "version": e.version}
        for e in ordered
    ]
    await tenants.lock(connection, sorted(newest))
    await connection.execute(_UPSERT, rows)
    await tenants.spread(connection, sorted(newest))


def _terms_of(row: Any) -> Terms:
    allowed = None if row["allowed_types"] is None else frozenset(row["allowed_types"])
    return Terms(
        plan=row["plan"],
        max_file=row["max_file_bytes"],
        allowed=allowed,
        images_month=row["images_month"],
        trash_days=row["trash_days"],
        versions_kept=row["versions_kept"],
        timezone=row["timezone"],
        location=row["location"],
        deleted=row["deleted_at"] is not None,
    )
