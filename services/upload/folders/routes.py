"""Folders as prefixes of files."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.upload.dependencies import Services, Tenant
from services.upload.folders.schemas import DoneOut, FolderMoveIn, FolderOut
from shared.errors import DomainError
from shared.http import CurrentTenant, Page, Paging, encode_cursor

router = APIRouter(prefix="/api/storage/folders", tags=["storage"])

Path = Annotated[str, Query(max_length=1024)]


@router.get("")
async def list_folders(
    tenant: Tenant, services: Services, paging: Paging, prefix: Path = "", sums: Annotated[bool, Query()] = False
) -> Page[FolderOut]:
    """The folders right below `prefix`, by name. Files and bytes in each and below are said up to 100 files, so that
    a page takes no longer where there are more; with `sums` of any number, which takes as long as there are many.
    """
    after = "" if paging.cursor is None else paging.cursor[0] if len(paging.cursor) == 1 else None
    if not isinstance(after, str) or "\x00" in after or "/" in after:
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.")
    found = await services.folders.list_below(tenant, prefix, after, paging.limit + 1, sums=sums)
    more, found = len(found) > paging.limit, found[: paging.limit]
    items = [FolderOut.of(prefix, folder) for folder in found]
    return Page(items=items, next_cursor=encode_cursor(found[-1].name) if more else None)


@router.delete("")
async def delete_folder(
    path: Path, who: CurrentTenant, tenant: Tenant, services: Services, permanent: Annotated[bool, Query()] = False
) -> DoneOut:
    """With everything below it, up to 10,000 files a request; go on until `complete`."""
    return DoneOut.of(await services.folders.delete(tenant, path, who.user_id, permanent=permanent))


@router.post("/move")
async def move_folder(body: FolderMoveIn, who: CurrentTenant, tenant: Tenant, services: Services) -> DoneOut:
    """A new name or place for a folder, up to 10,000 files a request; go on until `complete`."""
    return DoneOut.of(await services.folders.move(tenant, body.path, body.to, who.user_id))
