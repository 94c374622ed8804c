from fastapi import APIRouter

from services.usage.dependencies import Tenant, Usage
from services.usage.management.schemas import StorageManagementOut

router = APIRouter(prefix="/api/usage", tags=["usage"])


@router.get("/storage-management")
async def get_storage_management(tenant: Tenant, usage: Usage) -> StorageManagementOut:
    """What the tenant stored by category when it was last calculated, and what it cleaned up. When that is older than
    12 hours it is calculated anew in the background.
    """
    return await usage.management.read(tenant)
