"""`GET /api/images/quota`: before an upload, for a page to show. 200 also when nothing is left (S2.5)."""

from uuid import UUID

from fastapi import APIRouter

from services.upload.dependencies import Services, Tenant
from services.upload.images.quota.schemas import ImageQuotaOut
from services.upload.images.quota.service import ImageQuotaRefused
from shared.http import CurrentTenant

router = APIRouter(prefix="/api/images", tags=["images"])


@router.get("/quota")
async def get_image_quota(tenant: Tenant, services: Services) -> ImageQuotaOut:
    """Images of this month, which begins and ends in the tenant's time zone. Exact at the moment of the answer."""
    return await _quota(services, tenant)


@router.get("/quota/{user_email}")
async def get_image_quota_of(user_email: str, who: CurrentTenant, services: Services) -> ImageQuotaOut:
    """Of the person with that address: oneself, or somebody of a tenant one manages. 404 for anybody else."""
    return await _quota(services, await services.image_quota.tenant_of(who, user_email))


async def _quota(services: Services, tenant: UUID) -> ImageQuotaOut:
    try:
        allowance = await services.image_quota.allowance(tenant)
    except ImageQuotaRefused as error:
        return ImageQuotaOut(can_upload=False, quota_info=None, message_code=error.refusal)
    return ImageQuotaOut.of(allowance, await services.image_quota.offer(tenant, allowance))
