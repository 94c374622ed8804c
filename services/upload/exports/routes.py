"""`POST /api/user/export-data` and `/api/user/exports`, for those who manage the tenant."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from services.upload.dependencies import MANAGERS, Services, Tenant
from services.upload.exports.schemas import ExportIn, ExportOut
from services.upload.files.ranges import Span, Unsatisfiable, requested_spans
from shared.errors import DomainError
from shared.http import CurrentTenant, Page, Paging, Problem, encode_cursor

router = APIRouter(prefix="/api/user", tags=["user"], dependencies=[MANAGERS])


@router.post("/export-data", status_code=202)
async def request_export(body: ExportIn, who: CurrentTenant, tenant: Tenant, services: Services) -> ExportOut:
    """Everything kept of the tenant, as one ZIP with a manifest. It is made in the background."""
    return ExportOut.of(await services.exports.request(tenant, body.model_dump(), who.user_id))


@router.get("/exports")
async def list_exports(tenant: Tenant, services: Services, paging: Paging) -> Page[ExportOut]:
    """Newest first; problems are told by each export's own page."""
    try:
        before = None if paging.cursor is None else UUID(paging.cursor[0])
    except (ValueError, IndexError, AttributeError, TypeError):
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.") from None
    rows = await services.exports.list_newest(tenant, paging.limit + 1, before)
    shown = rows[: paging.limit]
    cursor = encode_cursor(shown[-1]["id"]) if len(rows) > paging.limit else None
    return Page(items=[ExportOut.of(row) for row in shown], next_cursor=cursor)


@router.get("/exports/{export_id}")
async def get_export(export_id: UUID, tenant: Tenant, services: Services) -> ExportOut:
    """How far it is."""
    row = await services.exports.get(tenant, export_id)
    return ExportOut.of(row, await services.exports.list_problems(tenant, export_id))


@router.delete("/exports/{export_id}", status_code=204)
async def delete_export(export_id: UUID, tenant: Tenant, services: Services) -> None:
    """Also one that is being made."""
    await services.exports.discard(tenant, export_id)


@router.head("/exports/{export_id}/content", include_in_schema=False)
@router.get("/exports/{export_id}/content", response_class=Response)
async def get_export_content(export_id: UUID, request: Request, tenant: Tenant, services: Services) -> Response:
    """The archive; understands `Range` and `If-Range`, so that a download that broke off can go on."""
    row = await services.exports.get_ready(tenant, export_id)
    tag, size = f'"{row["id"]}-{row["attempts"]}"', row["size"]
    headers = {
        "etag": tag,
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": f'attachment; filename="stowage-export-{row["id"]}.zip"',
        "x-content-type-options": "nosniff",
    }
    asked = request.headers.get("range") if request.headers.get("if-range", tag) == tag else None
    try:
        spans = requested_spans(asked, size)
    except Unsatisfiable:
        told = {"content-range": f"bytes */{size}"}
        raise Problem(416, "range_not_satisfiable", f"The export has {size} bytes.", headers=told) from None
    # One piece, as a download that goes on asks for; who asks for several gets the whole.
    status, span = (206, spans[0]) if len(spans) == 1 else (200, Span(0, size))
    if status == 206:
        headers["content-range"] = span.within(size)
    headers["content-length"] = str(span.length)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/zip")
    body = await services.exports.open(row, span.start, span.length)
    return StreamingResponse(body, status, headers, media_type="application/zip")
