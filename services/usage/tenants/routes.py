"""`/api/admin/usage/tenants/{tenant_id}/isolation`, for administrators of the platform."""

from uuid import UUID

from fastapi import APIRouter

from services.usage.dependencies import Usage
from services.usage.tenants.schemas import IsolationIn, IsolationOut
from shared.http import AdminOnly

router = APIRouter(prefix="/api/admin/usage/tenants", tags=["admin"])


@router.put("/{tenant_id}/isolation", status_code=202)
async def choose_isolation(tenant_id: UUID, body: IsolationIn, _who: AdminOnly, usage: Usage) -> IsolationOut:
    """Gives the tenant a schema of its own, or takes it away. `place` says when it has moved, soon after."""
    return IsolationOut.of(await usage.isolation.choose(tenant_id, body.isolation))


@router.get("/{tenant_id}/isolation")
async def get_isolation(tenant_id: UUID, _who: AdminOnly, usage: Usage) -> IsolationOut:
    """How the tenant is isolated, and what was calculated of its storage last."""
    return IsolationOut.of(await usage.isolation.get(tenant_id))
