"""Deleting files, one and many, the trash, and the way back from it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.upload.dependencies import Services, Tenant
from services.upload.files.schemas import FileOut, PathIn
from services.upload.trash.schemas import DeletedOut, DeleteIn, EmptiedOut
from shared.http import CurrentTenant

router = APIRouter(prefix="/api/storage", tags=["storage"])

Permanent = Annotated[bool, Query()]


@router.delete("/files/{file_id}", status_code=204)
async def delete_file(
    file_id: UUID, who: CurrentTenant, tenant: Tenant, services: Services, permanent: Permanent = False
) -> None:
    """Into the trash where the plan keeps one; `permanent` deletes at once, also what is in the trash already."""
    await services.trash.delete(tenant, file_id, who.user_id, permanent=permanent)


@router.delete("/file", status_code=204)
async def delete_file_by_path(
    body: PathIn, who: CurrentTenant, tenant: Tenant, services: Services, permanent: Permanent = False
) -> None:
    await services.trash.delete_by_path(tenant, body.file_path, who.user_id, permanent=permanent)


@router.post("/files/delete")
async def delete_files(body: DeleteIn, who: CurrentTenant, tenant: Tenant, services: Services) -> DeletedOut:
    """Up to 1,000 files by id or path, with a result for each."""
    results = await services.trash.delete_many(tenant, body.ids, body.paths, who.user_id, permanent=body.permanent)
    return DeletedOut.of(results)


@router.post("/files/{file_id}/restore")
async def restore_file(file_id: UUID, who: CurrentTenant, tenant: Tenant, services: Services) -> FileOut:
    """Out of the trash."""
    await services.trash.restore(tenant, file_id, who.user_id)
    return FileOut.of(await services.files.get(tenant, file_id))


@router.delete("/trash")
async def empty_trash(who: CurrentTenant, tenant: Tenant, services: Services) -> EmptiedOut:
    """Up to 10,000 files a request; go on until `complete`."""
    return EmptiedOut.of(await services.trash.empty(tenant, who.user_id))
