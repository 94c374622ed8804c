"""`GET /api/user/storage-info`."""

from fastapi import APIRouter

from services.upload.dependencies import Services, Tenant
from services.upload.overview.schemas import StorageInfoOut

router = APIRouter(prefix="/api/user", tags=["user"])


@router.get("/storage-info")
async def get_storage_info(tenant: Tenant, services: Services) -> StorageInfoOut:
    """What is stored, held, left, in the trash and in kept versions, and by category."""
    return StorageInfoOut.of(await services.overview.get(tenant))
