"""Direct uploads: asking for an offer, its parts, completing and aborting it; and the local store's own URL."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse

from services.upload.dependencies import Services, Tenant
from services.upload.direct import rules
from services.upload.direct.completion import Said
from services.upload.direct.errors import CompletionInProgress
from services.upload.direct.schemas import (
    DirectCompleteIn,
    DirectPartNumbersIn,
    DirectPartOut,
    DirectPartsOut,
    DirectPartUrlOut,
    DirectPartUrlsOut,
    DirectUploadIn,
    DirectUploadOut,
    DirectUploadState,
)
from services.upload.files.models import StoredFile
from services.upload.files.schemas import UploadOut
from services.upload.intake.acceptance import Sender
from services.upload.quota.schemas import QuotaOut
from shared.errors import DomainError
from shared.http import UNLIMITED_BODY, Body, ClientGone, CurrentTenant, owner_headers, problem_response

router = APIRouter(prefix="/api/storage", tags=["direct"])


@router.post("/direct-uploads", status_code=201)
async def open_direct_upload(
    body: DirectUploadIn, request: Request, who: CurrentTenant, tenant: Tenant, services: Services
) -> DirectUploadOut:
    """Reserves `file_size` bytes and says how to send them straight to the store."""
    announced = body.announced(services.intake.policy.tree, request.headers.get("origin"))
    upload, offer = await services.direct.uploads.open(Sender(tenant, who.user_id), announced)
    parts = None
    if offer.part_size is not None:
        count = min(rules.part_count(body.file_size, offer.part_size), rules.URLS)
        parts = (await _part_urls(services, tenant, upload.id, list(range(1, count + 1)))).items
    return DirectUploadOut.of(upload, offer, parts)


@router.get("/direct-uploads/{upload_id}")
async def get_direct_upload(upload_id: UUID, tenant: Tenant, services: Services) -> DirectUploadState:
    return DirectUploadState.of(await services.direct.uploads.get(tenant, upload_id))


@router.get("/direct-uploads/{upload_id}/parts")
async def list_parts(upload_id: UUID, tenant: Tenant, services: Services) -> DirectPartsOut:
    """The parts that have arrived, by number."""
    return DirectPartsOut(
        items=[DirectPartOut.of(part) for part in await services.direct.uploads.parts(tenant, upload_id)]
    )


@router.post("/direct-uploads/{upload_id}/parts")
async def sign_parts(
    upload_id: UUID, body: DirectPartNumbersIn, tenant: Tenant, services: Services
) -> DirectPartUrlsOut:
    """URLs to send these parts to, up to 100 at a time. Also a sign of life: the offer is good for longer."""
    return await _part_urls(services, tenant, upload_id, body.numbers)


@router.post("/direct-uploads/{upload_id}/complete", response_model=UploadOut)
async def complete_direct_upload(
    upload_id: UUID, tenant: Tenant, services: Services, body: DirectCompleteIn | None = None
) -> Response:
    """The file, however often it is asked for. 202 while a large one is still being read: ask again."""
    said = Said() if body is None else body.said()
    try:
        file = await services.direct.uploads.complete(tenant, upload_id, said)
    except CompletionInProgress:
        state = DirectUploadState.of(await services.direct.uploads.get(tenant, upload_id))
        return JSONResponse(state.model_dump(mode="json"), 202, {"retry-after": "2"})
    return JSONResponse((await uploaded(services, file)).model_dump(mode="json"))


@router.delete("/direct-uploads/{upload_id}", status_code=204)
async def abort_direct_upload(upload_id: UUID, tenant: Tenant, services: Services) -> None:
    """Nothing of it is kept and its space is free. 409 once it is stored: then it is a file."""
    await services.direct.uploads.abort(tenant, upload_id)


@router.put("/direct/{upload_id}", status_code=204, response_class=Response, max_body_size=UNLIMITED_BODY)
async def put_direct(
    upload_id: UUID,
    request: Request,
    services: Services,
    tenant: Annotated[UUID, Query()],
    size: Annotated[int, Query(ge=0, lt=2**62)],
    expires: Annotated[int, Query(ge=0, lt=10**12)],
    sig: Annotated[str, Query(max_length=64)],
) -> Response:
    """Takes the bytes of a direct upload to the local store; the signature is the permission. 403 `link_invalid`,
    403 `link_expired`.
    """
    services.direct.local.check(tenant, upload_id, size, expires, sig)
    body = Body(request, idle=services.idle_seconds)
    try:
        digest, project = await services.direct.receiver.receive(tenant, upload_id, size, _length(request), body)
    except ClientGone:
        return problem_response(400, "incomplete_body", "The body ended early.", headers={"connection": "close"})
    except DomainError as error:
        # The rest of the body is not wanted, so neither is the connection.
        headers = {"connection": "close", **owner_headers(tenant, None)}
        return problem_response(error.status, error.code, error.detail, headers=headers, **error.extras)
    return Response(status_code=204, headers={"etag": f'"{digest}"', **owner_headers(tenant, project)})


async def uploaded(services: Services, file: StoredFile) -> UploadOut:
    link = services.links.make(file.tenant_id, file.id, 3600)
    state = await services.accounts.state(file.tenant_id)
    return UploadOut.of(file, file_url=link.url, quota=QuotaOut.of(state))


async def _part_urls(services: Services, tenant: UUID, upload_id: UUID, numbers: list[int]) -> DirectPartUrlsOut:
    upload, urls = await services.direct.uploads.part_urls(tenant, upload_id, numbers)
    items = [DirectPartUrlOut(number=number, url=url) for number, url in zip(numbers, urls, strict=True)]
    return DirectPartUrlsOut(items=items, expires_at=upload.expires_at)


def _length(request: Request) -> int | None:
    text = request.headers.get("content-length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
