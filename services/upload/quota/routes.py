"""`GET /api/storage/quota`."""

from fastapi import APIRouter

from services.upload.dependencies import Services, Tenant
from services.upload.quota.schemas import AccountOut, QuotaOut

router = APIRouter(prefix="/api/storage", tags=["storage"])


@router.get("/quota")
async def get_quota(tenant: Tenant, services: Services) -> AccountOut:
    """What is stored, held by uploads under way, and left. Exact at the moment of the answer."""
    state = await services.accounts.state(tenant)
    trashed, versions = await services.files.bytes_aside(tenant)
    return AccountOut(**QuotaOut.of(state).model_dump(), trashed=trashed, versions=versions)
