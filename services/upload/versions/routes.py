"""A tenant's settings, and the older versions of a file."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from services.upload.dependencies import Services, Tenant
from services.upload.errors import NotTheManager
from services.upload.files import content
from services.upload.files.schemas import FileOut, VersionOut
from services.upload.intake.acceptance import Sender
from services.upload.versions.schemas import SettingsIO
from shared.http import CurrentTenant

router = APIRouter(prefix="/api/storage", tags=["storage"])


@router.get("/settings")
async def get_settings(tenant: Tenant, services: Services) -> SettingsIO:
    return SettingsIO(versions_kept=await services.versions.kept(tenant))


@router.put("/settings")
async def put_settings(body: SettingsIO, who: CurrentTenant, tenant: Tenant, services: Services) -> SettingsIO:
    """For owners and admins."""
    if not who.manages:
        raise NotTheManager
    await services.versions.keep(tenant, body.versions_kept)
    return body


@router.get("/files/{file_id}/versions")
async def list_versions(file_id: UUID, tenant: Tenant, services: Services) -> list[VersionOut]:
    """Newest first; the file itself is not among them."""
    return [VersionOut.of(version) for version in await services.files.list_versions(tenant, file_id)]


@router.head("/files/{file_id}/versions/{version_id}/content", include_in_schema=False)
@router.get("/files/{file_id}/versions/{version_id}/content", response_class=Response)
async def get_version_content(
    file_id: UUID,
    version_id: UUID,
    request: Request,
    tenant: Tenant,
    services: Services,
    disposition: Annotated[content.Disposition, Query()] = "attachment",
) -> Response:
    ask = content.Ask(request.headers, head=request.method == "HEAD", inline=disposition == "inline")
    return await content.respond(services.files, lambda: services.files.get_version(tenant, file_id, version_id), ask)


@router.post("/files/{file_id}/versions/{version_id}/restore")
async def restore_version(
    file_id: UUID, version_id: UUID, who: CurrentTenant, tenant: Tenant, services: Services
) -> FileOut:
    """The file gets the version's bytes, by a copy that has to fit like any upload."""
    await services.replacing.restore_version(Sender(tenant, who.user_id), file_id, version_id)
    return FileOut.of(await services.files.get(tenant, file_id))


@router.delete("/files/{file_id}/versions/{version_id}", status_code=204)
async def delete_version(
    file_id: UUID, version_id: UUID, who: CurrentTenant, tenant: Tenant, services: Services
) -> None:
    await services.versions.delete(tenant, file_id, version_id, who.user_id)
