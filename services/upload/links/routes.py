"""`GET /api/storage/signed/…`: no account needed, the signature is the permission."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from services.upload.dependencies import Services
from services.upload.errors import LinkRefused
from services.upload.files import content

router = APIRouter(prefix="/api/storage", tags=["storage"])


@router.head("/signed/{tenant_id}/{file_id}", include_in_schema=False)
@router.get("/signed/{tenant_id}/{file_id}", response_class=Response)
async def get_signed(
    tenant_id: str,
    file_id: str,
    request: Request,
    services: Services,
    expires: Annotated[str, Query(max_length=12)],
    sig: Annotated[str, Query(max_length=64)],
) -> Response:
    """403 `link_invalid` for anything altered, 403 `link_expired` after its time."""
    try:
        tenant, file, until = UUID(tenant_id), UUID(file_id), int(expires)
    except ValueError:
        raise LinkRefused("link_invalid") from None
    if (str(tenant), str(file), str(until)) != (tenant_id, file_id, expires):
        raise LinkRefused("link_invalid")
    services.links.check(tenant, file, until, sig)
    found = await services.files.get(tenant, file)
    return await content.respond(services.files, found, request.headers, head=request.method == "HEAD")
