from fastapi import APIRouter

from services.usage.dependencies import Tenant, Usage
from services.usage.users.schemas import UsersOut
from shared.http import CurrentTenant, Paging

router = APIRouter(prefix="/api/usage", tags=["usage"])


@router.get("/users")
async def list_users(who: CurrentTenant, tenant: Tenant, usage: Usage, page: Paging) -> UsersOut:
    """What each person has uploaded, the largest first. Members see their own."""
    return await usage.users.list_users(tenant, who, page)
