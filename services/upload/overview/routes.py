"""`GET /api/user/storage-info`, and the same for sister services."""

from uuid import UUID

from fastapi import APIRouter

from services.upload.dependencies import Services, Tenant
from services.upload.overview.schemas import GlanceOut, StorageInfoOut
from shared.http import ServiceOnly

router = APIRouter(prefix="/api/user", tags=["user"])
internal = APIRouter(prefix="/internal/storage", include_in_schema=False)


@router.get("/storage-info")
async def get_storage_info(tenant: Tenant, services: Services) -> StorageInfoOut:
    """What is stored, held, left, in the trash and in kept versions, and by category."""
    return StorageInfoOut.of(await services.overview.get(tenant))


@internal.get("/{tenant_id}/glance")
async def glance(tenant_id: UUID, services: Services, _caller: ServiceOnly) -> GlanceOut:
    return GlanceOut.of(await services.overview.glance(tenant_id))
