"""Storing images, what is known of them, smaller ones, and those that look alike."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse

from services.upload.dependencies import Services, Tenant
from services.upload.files.routes import announced
from services.upload.files.schemas import stored_row
from services.upload.images.rules import Kind, rung
from services.upload.images.schemas import HOURS, ImageOut, ImageUploadOut, SimilarImages, SimilarOut
from services.upload.images.upload import StoredImage
from services.upload.intake.acceptance import Sender
from shared.errors import DomainError
from shared.http import (
    UNLIMITED_BODY,
    Body,
    ClientGone,
    CurrentTenant,
    Page,
    Paging,
    encode_cursor,
    owner_headers,
    problem_response,
)

router = APIRouter(prefix="/api/images", tags=["images"])

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "strip_location": {"type": "boolean", "description": "Comes before the file"},
                        "kind": {"type": "string", "enum": ["generated", "reference"]},
                        "category": {"type": "string", "default": "images"},
                        "subcategory": {"type": "string"},
                        "entity_id": {"type": "string"},
                        "project_id": {"type": "string", "format": "uuid"},
                        "metadata": {"type": "string", "description": "A JSON object"},
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


@router.post(
    "/upload", status_code=201, response_model=ImageUploadOut, openapi_extra=_FORM, max_body_size=UNLIMITED_BODY
)
async def upload_image(
    request: Request,
    who: CurrentTenant,
    tenant: Tenant,
    services: Services,
    use_credits: Annotated[bool, Query()] = False,
) -> Response:
    """Stores one image and takes one of the month's. 403 with a code and `quota_info` when none is left, 415 for what
    is no image by its content. With `use_credits` one above the plan's quota is paid for with the team's credits; what
    that costs is in `credits` of the refusal, and of `GET /api/images/quota`.
    """
    said = announced(request)
    if said.idempotency_key is not None:
        known = await services.files.find_by_key(tenant, said.idempotency_key)
        if known is not None:
            return await _created(services, tenant, known.id)
    body = Body(request, idle=services.idle_seconds)
    try:
        sender = Sender(tenant, who.user_id)
        result = await services.image_uploads.receive(sender, said, body, use_credits=use_credits)
    except ClientGone:
        return problem_response(400, "incomplete_body", "The body ended early.", headers={"connection": "close"})
    except DomainError as error:
        # The rest of the body is not wanted, so neither is the connection.
        return problem_response(error.status, error.code, error.detail, headers={"connection": "close"}, **error.extras)
    return await _created(services, tenant, result)


@router.get("")
async def list_images(
    tenant: Tenant, services: Services, paging: Paging, kind: Annotated[Kind | None, Query()] = None
) -> Page[ImageOut]:
    """Newest first. A page that is short is not the last while there is a cursor."""
    listed = await services.images.list_newest(tenant, paging.limit, paging.cursor, kind)
    cursor = None if listed.after is None else encode_cursor(listed.after[0].isoformat(), listed.after[1])
    return Page(items=[ImageOut.of(seen) for seen in listed.images], next_cursor=cursor)


@router.get("/{image_id}")
async def get_image(image_id: UUID, tenant: Tenant, services: Services) -> ImageOut:
    return ImageOut.of(await services.images.get(tenant, image_id))


@router.get("/{image_id}/similar")
async def list_similar(
    image_id: UUID,
    tenant: Tenant,
    services: Services,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    threshold: Annotated[float, Query(ge=0, le=1)] = 0.5,
) -> SimilarImages:
    """The tenant's own images of at least that similarity, the most alike first. 409 until it has been looked at."""
    found = await services.images.list_similar(tenant, image_id, threshold, limit)
    return SimilarImages(items=[SimilarOut.near(near) for near in found])


@router.get("/{image_id}/thumbnail", response_class=Response, responses={200: {"content": {"image/webp": {}}}})
async def get_thumbnail(
    image_id: UUID,
    request: Request,
    tenant: Tenant,
    services: Services,
    size: Annotated[int, Query(ge=64, le=1600)] = 256,
) -> Response:
    """WebP, upright, at most 64, 128, 256, 400, 800, 1200 or 1600 pixels wide and high: the next step from `size`."""
    file = await services.thumbnails.file(tenant, image_id)
    tag = f'"{file.sha256[:32]}-{rung(size)}"'
    headers = {
        "etag": tag,
        "cache-control": "private, max-age=3600",
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        **owner_headers(tenant, file.project_id),
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(await services.thumbnails.read(file, size), 200, headers, "image/webp")


async def _created(services: Services, tenant: UUID, result: StoredImage | UUID) -> JSONResponse:
    """Of a repeat, what the first answer said but for the quota, which is today's."""
    if isinstance(result, StoredImage):
        row, allowance, headers = stored_row(result.stored), result.allowance, {}
    else:
        row = await services.files.get(tenant, result)
        allowance = await services.image_quota.allowance(tenant)
        headers = {"idempotent-replayed": "true", "connection": "close"}
    headers |= owner_headers(tenant, row.project_id)
    link = services.links.make(tenant, row.id, HOURS * 3600)
    return JSONResponse(ImageUploadOut.of(row, link.url, allowance).model_dump(mode="json"), 201, headers)
