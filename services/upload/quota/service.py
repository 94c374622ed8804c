"""A tenant's account as the rest of the service sees it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from services.upload.entitlements.service import EntitlementService
from services.upload.quota.repository import Change, Result, TenantUnknown
from services.upload.quota.rules import Delete, Extend, Release, Settle, State
from services.upload.quota.writer import AccountWriter
from shared.db import Database
from shared.events import FileStored
from shared.telemetry import current_traceparent

_STATE = "SELECT limit_bytes, used, reserved, files FROM tenant_storage WHERE tenant_id = $1"


class AccountService:
    """Changes go through the writer; a tenant never seen before gets its account first."""

    def __init__(self, database: Database, writer: AccountWriter, entitlements: EntitlementService) -> None:
        self._database = database
        self._writer = writer
        self._entitlements = entitlements

    async def hold(self, tenant: UUID, upload: UUID, size: int, lifetime: timedelta) -> Result:
        """Makes the upload's reservation `size` bytes, and alive for `lifetime` from now."""
        return await self._submit(tenant, Change(Extend(upload, size), lifetime=lifetime))

    async def settle(self, file: FileStored, metadata: dict[str, Any], key: str | None) -> Result:
        change = Change(
            Settle(file.file_id, file.size),
            file=file,
            metadata=metadata,
            idempotency_key=key,
            traceparent=current_traceparent(),
        )
        return await self._submit(file.tenant_id, change)

    async def release(self, tenant: UUID, upload: UUID) -> None:
        await self._submit(tenant, Change(Release(upload)))

    async def delete(self, tenant: UUID, file: UUID, by: UUID | None) -> Result:
        """`missing` when the tenant has no such file."""
        return await self._submit(tenant, Change(Delete(file, 0), by=by, traceparent=current_traceparent()))

    async def state(self, tenant: UUID) -> State:
        for _ in range(2):
            async with self._database.transaction(tenant) as connection:
                row = await connection.fetchrow(_STATE, tenant)
            if row is not None:
                return State(row["limit_bytes"], row["used"], row["reserved"], row["files"])
            await self._entitlements.pull(tenant)
        raise TenantUnknown(tenant)

    async def max_file_size(self, tenant: UUID, configured: int, *, at_least: int) -> int:
        """Bytes a file may have. Nobody is refused `at_least` bytes by a figure that has just changed."""
        limit = await self._entitlements.max_file_bytes(tenant)
        if limit is not None and at_least > limit:
            limit = await self._entitlements.max_file_bytes(tenant, fresh=True)
        return configured if limit is None else min(limit, configured)

    async def _submit(self, tenant: UUID, change: Change) -> Result:
        try:
            return await self._writer.submit(tenant, change)  # type: ignore[no-any-return]
        except TenantUnknown:
            await self._entitlements.pull(tenant)
            return await self._writer.submit(tenant, change)  # type: ignore[no-any-return]


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
