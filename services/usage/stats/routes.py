from fastapi import APIRouter

from services.usage.dependencies import Tenant, Usage
from services.usage.stats.schemas import StatsOut

router = APIRouter(prefix="/api/storage", tags=["usage"])


@router.get("/stats")
async def get_stats(tenant: Tenant, usage: Usage) -> StatsOut:
    """The quota, what is stored by file type and category, and the ten newest uploads with their uploaders' names."""
    return await usage.stats.get(tenant)
