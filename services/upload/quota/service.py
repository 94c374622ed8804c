"""A tenant's account as the rest of the service sees it."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

from services.upload.entitlements.service import EntitlementService
from services.upload.quota.changes import Change, Result
from services.upload.quota.repository import TenantUnknown
from services.upload.quota.rules import Delete, Release, Reserve, State
from services.upload.quota.writer import AccountWriter
from shared.db import Database
from shared.telemetry import current_traceparent

_STATE = "SELECT limit_bytes, used, reserved, files, images_month FROM tenant_storage WHERE tenant_id = $1"


class AccountService:
    """Changes go through the writer; a tenant never seen before gets its account first."""

    def __init__(self, database: Database, writer: AccountWriter, entitlements: EntitlementService) -> None:
        self._database = database
        self._writer = writer
        self._entitlements = entitlements

    async def hold(
        self,
        tenant: UUID,
        upload: UUID,
        size: int,
        lifetime: timedelta,
        month: date | None = None,
        *,
        paid: bool = False,
    ) -> Result:
        """Makes the upload's reservation `size` bytes, and alive for `lifetime` from now. `month`: and one image;
        `paid`: above the quota, if need be.
        """
        return await self.submit(tenant, Change(Reserve(upload, size, month, paid), lifetime=lifetime))

    async def release(self, tenant: UUID, upload: UUID) -> None:
        await self.submit(tenant, Change(Release(upload)))

    async def delete(self, tenant: UUID, file: UUID, by: UUID | None) -> Result:
        """`missing` when the tenant has no such file."""
        return await self.submit(tenant, Change(Delete(file, 0), by=by))

    async def state(self, tenant: UUID) -> State:
        for _ in range(2):
            async with self._database.transaction(tenant) as connection:
                row = await connection.fetchrow(_STATE, tenant)
            if row is not None:
                return State(row["limit_bytes"], row["used"], row["reserved"], row["files"], row["images_month"])
            await self._entitlements.pull(tenant)
        raise TenantUnknown(tenant)

    async def submit(self, tenant: UUID, change: Change) -> Result:
        """One change, once it is committed. Raises EntitlementsUnknown."""
        change.traceparent = current_traceparent()
        try:
            return await self._writer.submit(tenant, change)
        except TenantUnknown:
            await self._entitlements.pull(tenant)
            return await self._writer.submit(tenant, change)


def quota_of(state: State) -> dict[str, Any]:
    """Bytes; `limit` and `available` are null when unlimited. Percentage of the limit that is stored, two decimals."""
    percentage = 0.0 if not state.limit else round(state.used * 100 / state.limit, 2)
    return {
        "used": state.used,
        "reserved": state.reserved,
        "limit": state.limit,
        "available": state.available,
        "percentage": percentage,
    }
