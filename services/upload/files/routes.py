"""Uploading, listing, reading and deleting files."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from services.upload.dependencies import Services, Tenant
from services.upload.files import content
from services.upload.files.answers import repeated, stored
from services.upload.files.schemas import FileOut, LinkOut, PathIn, UploadOut
from services.upload.intake import headers
from services.upload.intake.acceptance import Repeated, Sender
from services.upload.intake.form import Announced, FormUpload
from shared.errors import DomainError
from shared.http import (
    UNLIMITED_BODY,
    ClientGone,
    CurrentTenant,
    Page,
    Paging,
    encode_cursor,
    problem_response,
    read_body,
)

router = APIRouter(prefix="/api/storage", tags=["storage"])

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "category"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "category": {"type": "string"},
                        "subcategory": {"type": "string"},
                        "entity_id": {"type": "string"},
                        "project_id": {"type": "string", "format": "uuid"},
                        "metadata": {"type": "string", "description": "A JSON object"},
                    },
                }
            }
        },
    }
}


@router.post("/upload", status_code=201, response_model=UploadOut, openapi_extra=_FORM, max_body_size=UNLIMITED_BODY)
async def upload_file(request: Request, who: CurrentTenant, tenant: Tenant, services: Services) -> Response:
    """Stores one file. With `X-File-Size` a file that does not fit is refused before its body travels."""
    announced = _announced(request)
    if announced.idempotency_key is not None:
        known = await services.files.find_by_key(tenant, announced.idempotency_key)
        if known is not None:
            return await repeated(services, tenant, known.id)
    body = read_body(request.receive, idle=services.idle_seconds)
    try:
        upload = await FormUpload.begin(services.intake, Sender(tenant, who.user_id), announced)
        result = await upload.receive(body)
    except ClientGone:
        # Nobody reads this answer.
        return problem_response(400, "incomplete_body", "The body ended early.", headers={"connection": "close"})
    except DomainError as error:
        # The rest of the body is not wanted, so neither is the connection.
        return problem_response(error.status, error.code, error.detail, headers={"connection": "close"}, **error.extras)
    if isinstance(result, Repeated):
        return await repeated(services, tenant, result.file_id)
    return stored(services, result)


@router.get("/files")
async def list_files(
    tenant: Tenant, services: Services, paging: Paging, category: Annotated[str | None, Query()] = None
) -> Page[FileOut]:
    """Newest first."""
    files = await services.files.list_newest(tenant, paging.limit + 1, paging.cursor, category)
    more = len(files) > paging.limit
    files = files[: paging.limit]
    cursor = encode_cursor(files[-1].created_at.isoformat(), files[-1].id) if more else None
    return Page(items=[FileOut.of(file) for file in files], next_cursor=cursor)


@router.get("/files/{file_id}")
async def get_file(file_id: UUID, tenant: Tenant, services: Services) -> FileOut:
    return FileOut.of(await services.files.get(tenant, file_id))


@router.head("/files/{file_id}/content", include_in_schema=False)
@router.get("/files/{file_id}/content", response_class=Response)
async def get_content(file_id: UUID, request: Request, tenant: Tenant, services: Services) -> Response:
    """The bytes; understands `Range`, `If-None-Match` and `If-Range`."""
    file = await services.files.get(tenant, file_id)
    return await content.respond(services.files, file, request.headers, head=request.method == "HEAD")


@router.get("/files/{file_id}/url")
async def get_url(
    file_id: UUID, tenant: Tenant, services: Services, expires_in: Annotated[int, Query(ge=1, le=604_800)] = 3600
) -> LinkOut:
    """A link that needs no account, valid for `expires_in` seconds (1 second to 7 days)."""
    file = await services.files.get(tenant, file_id)
    link = services.links.make(tenant, file.id, expires_in)
    return LinkOut(url=link.url, expires_at=link.expires_at)


@router.delete("/files/{file_id}", status_code=204)
async def delete_file(file_id: UUID, who: CurrentTenant, tenant: Tenant, services: Services) -> None:
    await services.files.delete(tenant, file_id, who.user_id)


@router.delete("/file", status_code=204)
async def delete_file_by_path(body: PathIn, who: CurrentTenant, tenant: Tenant, services: Services) -> None:
    await services.files.delete_by_path(tenant, body.file_path, who.user_id)


def _announced(request: Request) -> Announced:
    given = request.headers
    return Announced(
        headers.number(given, "content-length"),
        headers.number(given, "x-file-size"),
        given.get("content-type"),
        headers.idempotency_key(given),
    )
