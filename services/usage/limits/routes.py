from uuid import UUID

from fastapi import APIRouter

from services.usage.dependencies import Tenant, Usage
from services.usage.limits.schemas import LimitsOut, UsageCheckIn, UsageCheckOut
from shared.http import ServiceOnly

router = APIRouter(prefix="/api/usage", tags=["usage"])
internal = APIRouter(prefix="/internal/usage", include_in_schema=False)


@router.post("/check")
async def check_usage(body: UsageCheckIn, tenant: Tenant, usage: Usage) -> UsageCheckOut:
    """Whether an amount would still fit, by the plan and by the tenant's hard thresholds. Nothing is reserved."""
    return await usage.limits.check(tenant, body)


@router.get("/limits")
async def list_limits(tenant: Tenant, usage: Usage) -> LimitsOut:
    """Each metric beside its limit."""
    return await usage.limits.limits(tenant)


@internal.post("/{tenant_id}/check")
async def check_usage_of(tenant_id: UUID, body: UsageCheckIn, _caller: ServiceOnly, usage: Usage) -> UsageCheckOut:
    return await usage.limits.check(tenant_id, body)


@internal.get("/{tenant_id}/limits")
async def list_limits_of(tenant_id: UUID, _caller: ServiceOnly, usage: Usage) -> LimitsOut:
    return await usage.limits.limits(tenant_id)
