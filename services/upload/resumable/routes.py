"""Uploads in pieces as tus 1.0 has them: https://tus.io/protocols/resumable-upload."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from services.upload.dependencies import Services, Tenant
from services.upload.intake.acceptance import Sender
from services.upload.resumable.answers import TusRoute, headers_of, headers_of_all
from services.upload.resumable.rules import ALGORITHMS, EXTENSIONS, PATH, VERSION, Creation, Piece
from shared.errors import DomainError
from shared.http import UNLIMITED_BODY, Body, CurrentTenant, Stopping

router = APIRouter(prefix=PATH, tags=["uploads"], route_class=TusRoute)


@router.options("", status_code=204, include_in_schema=False)
@router.options("/{upload_id}", status_code=204, include_in_schema=False)
async def get_abilities(services: Services) -> Response:
    """What this server can do."""
    headers = {
        "tus-version": VERSION,
        "tus-extension": EXTENSIONS,
        "tus-max-size": str(services.intake.policy.max_resumable_size),
        "tus-checksum-algorithm": ",".join(ALGORITHMS),
    }
    return Response(status_code=204, headers=headers)


@router.post("", status_code=201, response_class=Response, max_body_size=UNLIMITED_BODY)
async def create_upload(
    request: Request, who: CurrentTenant, tenant: Tenant, services: Services, stopping: Stopping
) -> Response:
    """Begins an upload at the address in `Location`; a body is its first bytes. `Upload-Metadata` says `filename`,
    `filetype`, `category`, `subcategory`, `entity_id`, `folder`, `project_id` and `metadata`.
    """
    creation = Creation.read(request.headers)
    sender = Sender(tenant, who.user_id)
    if creation.concat is not None and creation.concat.parts:
        made = await services.resumable.concatenation.concatenate(sender, creation, creation.concat, stopping)
    else:
        body = Body(request, idle=services.idle_seconds)
        made = await services.resumable.creation.create(sender, creation, body, stopping)
    address = f"{services.resumable.base_url}{PATH}/{made.id}"
    return Response(status_code=201, headers={"location": address, **headers_of(tenant, made)})


@router.head("/{upload_id}", include_in_schema=False)
async def get_progress(upload_id: UUID, tenant: Tenant, services: Services, stopping: Stopping) -> Response:
    """How many bytes are safe."""
    progress = await services.resumable.uploads.progress(tenant, upload_id, stopping)
    return Response(status_code=200, headers=headers_of_all(tenant, progress))


@router.patch("/{upload_id}", status_code=204, response_class=Response, max_body_size=UNLIMITED_BODY)
async def append_bytes(
    upload_id: UUID, request: Request, tenant: Tenant, services: Services, stopping: Stopping
) -> Response:
    """The next bytes, from `Upload-Offset` on. With the last of them the upload is a file, named in `X-File-Id`."""
    piece = Piece.read(request.headers)
    body = Body(request, idle=services.idle_seconds)
    progress = await services.resumable.uploads.append(tenant, upload_id, piece, body, stopping)
    return Response(status_code=204, headers=headers_of(tenant, progress))


@router.delete("/{upload_id}", status_code=204, response_class=Response)
async def terminate_upload(upload_id: UUID, tenant: Tenant, services: Services, stopping: Stopping) -> Response:
    """Ends an upload under way; its space is free at once."""
    await services.resumable.uploads.terminate(tenant, upload_id, stopping)
    return Response(status_code=204)


@router.post("/{upload_id}", status_code=204, response_class=Response, max_body_size=UNLIMITED_BODY)
async def use_method(
    upload_id: UUID, request: Request, tenant: Tenant, services: Services, stopping: Stopping
) -> Response:
    """For clients that can only GET and POST: the method in `X-HTTP-Method-Override`."""
    match request.headers.get("x-http-method-override", "").upper():
        case "PATCH":
            return await append_bytes(upload_id, request, tenant, services, stopping)
        case "DELETE":
            return await terminate_upload(upload_id, tenant, services, stopping)
        case "HEAD":
            return await get_progress(upload_id, tenant, services, stopping)
    raise DomainError("method_not_allowed", 405, "X-HTTP-Method-Override is PATCH, HEAD or DELETE.")
