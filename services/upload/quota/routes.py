"""`GET /api/storage/quota`."""

from fastapi import APIRouter

from services.upload.dependencies import Services, Tenant
from services.upload.quota.schemas import QuotaOut

router = APIRouter(prefix="/api/storage", tags=["storage"])


@router.get("/quota")
async def get_quota(tenant: Tenant, services: Services) -> QuotaOut:
    """What is stored, held by uploads under way, and left. Exact at the moment of the answer."""
    return QuotaOut.of(await services.accounts.state(tenant))
