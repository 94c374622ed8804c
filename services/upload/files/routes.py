"""Uploading, listing, reading and changing files."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from services.upload.dependencies import Services, Tenant
from services.upload.files import content
from services.upload.files.answers import repeated, stored
from services.upload.files.bulk import each
from services.upload.files.listing import Filters
from services.upload.files.replacing import Announced as Replacing
from services.upload.files.schemas import ChangeIn, CopyIn, FileOut, MovedOut, MoveIn, UploadOut
from services.upload.intake import headers
from services.upload.intake.acceptance import Repeated, Sender, Stored
from services.upload.intake.form import Announced, FormUpload
from services.upload.intake.placement import read_flag
from services.upload.raw.rules import sha256_of
from shared.errors import DomainError
from shared.http import (
    UNLIMITED_BODY,
    Body,
    ClientGone,
    CurrentTenant,
    Page,
    Paging,
    encode_cursor,
    problem_response,
)

router = APIRouter(prefix="/api/storage", tags=["storage"])

STRIPS = "true takes out of a photo where it was taken"

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
                        "strip_location": {"type": "boolean", "description": f"{STRIPS}; comes before the file"},
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
    said = announced(request)
    if said.idempotency_key is not None:
        known = await services.files.find_by_key(tenant, said.idempotency_key)
        if known is not None:
            return await repeated(services, tenant, known.id)
    body = Body(request, idle=services.idle_seconds)
    try:
        upload = await FormUpload.begin(services.intake, Sender(tenant, who.user_id), said)
        result = await upload.receive(body)
    except ClientGone:
        # Nobody reads this answer.
        return problem_response(400, "incomplete_body", "The body ended early.", headers={"connection": "close"})
    except DomainError as error:
        # The rest of the body is not wanted, so neither is the connection.
        return problem_response(error.status, error.code, error.detail, headers={"connection": "close"}, **error.extras)
    return await _uploaded(services, tenant, result)


@router.get("/files")
async def list_files(
    tenant: Tenant, services: Services, paging: Paging, filters: Annotated[Filters, Query()]
) -> Page[FileOut]:
    """Newest first, unless `sort` says otherwise. A page that is short is not the last while there is a cursor."""
    listed = await services.files.list_page(tenant, filters, paging.cursor, paging.limit)
    cursor = None if listed.after is None else encode_cursor(*listed.after)
    return Page(items=[FileOut.of(file) for file in listed.files], next_cursor=cursor)


@router.post("/files/move")
async def move_files(body: MoveIn, who: CurrentTenant, tenant: Tenant, services: Services) -> MovedOut:
    """Up to 1,000 files, with a result for each."""
    sender, said = Sender(tenant, who.user_id), body.said()
    return MovedOut.of(await each(body.ids, lambda file_id: services.moving.move(sender, file_id, said)))


@router.get("/files/{file_id}")
async def get_file(file_id: UUID, tenant: Tenant, services: Services, response: Response) -> FileOut:
    """Its ETag is for `If-Match` of a PATCH."""
    file = await services.files.get(tenant, file_id)
    response.headers["etag"] = file.etag
    return FileOut.of(file)


@router.patch("/files/{file_id}")
async def change_file(
    file_id: UUID,
    body: ChangeIn,
    who: CurrentTenant,
    tenant: Tenant,
    services: Services,
    response: Response,
    if_match: Annotated[str | None, Header(max_length=1024)] = None,
) -> FileOut:
    """Name, place and metadata. 412 where `If-Match` names another state of the file."""
    file = await services.moving.move(Sender(tenant, who.user_id), file_id, body.said(), if_match)
    response.headers["etag"] = file.etag
    return FileOut.of(file)


@router.post("/files/{file_id}/copy", status_code=201, response_model=UploadOut)
async def copy_file(
    file_id: UUID, body: CopyIn, request: Request, who: CurrentTenant, tenant: Tenant, services: Services
) -> Response:
    """A new file with the same bytes, or those of a photo that does not say where it was taken. It has to fit like an
    upload. `Idempotency-Key` makes repeats harmless.
    """
    sender, key = Sender(tenant, who.user_id), headers.idempotency_key(request.headers)
    if key is not None:
        known = await services.files.find_by_key(tenant, key)
        if known is not None:
            return await repeated(services, tenant, known.id)
    result = await services.copies.copy_as(sender, file_id, body.said(), key, strip_location=body.strip_location)
    return await _uploaded(services, tenant, result)


@router.head("/files/{file_id}/content", include_in_schema=False)
@router.get("/files/{file_id}/content", response_class=Response)
async def get_content(
    file_id: UUID,
    request: Request,
    tenant: Tenant,
    services: Services,
    disposition: Annotated[content.Disposition, Query()] = "attachment",
) -> Response:
    """The bytes; understands ranges, several at once too, and all conditions. `inline` serves safe types only."""
    ask = content.Ask(request.headers, head=request.method == "HEAD", inline=disposition == "inline")
    return await content.respond(services.files, lambda: services.files.get(tenant, file_id), ask)


_RAW = {"requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}


@router.put("/files/{file_id}/content", response_model=UploadOut, openapi_extra=_RAW, max_body_size=UNLIMITED_BODY)
async def replace_content(
    file_id: UUID,
    request: Request,
    who: CurrentTenant,
    tenant: Tenant,
    services: Services,
    strip_location: Annotated[str | None, Query(description=STRIPS)] = None,
) -> Response:
    """Other bytes for the file, which keeps its id, name and place. `If-Match` takes the ETag of its content;
    `Repr-Digest` or `Content-Digest` with sha-256 is checked.
    """
    try:
        announced = _replacing(request, strip_location)
        replacement = await services.replacing.begin(Sender(tenant, who.user_id), file_id, announced)
        result = await replacement.receive(Body(request, idle=services.idle_seconds))
    except ClientGone:
        return problem_response(400, "incomplete_body", "The body ended early.", headers={"connection": "close"})
    except DomainError as error:
        return problem_response(error.status, error.code, error.detail, headers={"connection": "close"}, **error.extras)
    return await _uploaded(services, tenant, result, status=200)


def announced(request: Request) -> Announced:
    given = request.headers
    return Announced(
        headers.number(given, "content-length"),
        headers.number(given, "x-file-size"),
        given.get("content-type"),
        headers.idempotency_key(given),
    )


def _replacing(request: Request, strip_location: str | None) -> Replacing:
    given = request.headers
    headers.check_whole(given)
    return Replacing(
        headers.number(given, "content-length"),
        given.get("content-type"),
        given.get("if-match"),
        sha256_of(given.get("repr-digest"), given.get("content-digest")),
        read_flag(strip_location),
    )


async def _uploaded(services: Services, tenant: UUID, result: Stored | Repeated, status: int = 201) -> Response:
    if isinstance(result, Repeated):
        return await repeated(services, tenant, result.file_id)
    return stored(services, result, status)
