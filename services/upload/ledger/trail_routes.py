"""The ledger for its tenant: as a list, as it was hashed, and a file's history."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from services.upload.dependencies import Services, Tenant
from services.upload.errors import FileNotFound
from services.upload.ledger.schemas import HeadOut, TransactionOut
from services.upload.ledger.transactions import Filters, Trail
from shared.http import Page, Paging, encode_cursor

router = APIRouter(prefix="/api/storage", tags=["storage"])

_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}
_NDJSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-ndjson": {}}}}


@router.get("/transactions", response_model=Page[TransactionOut], responses=_CSV)
async def list_transactions(
    request: Request, tenant: Tenant, services: Services, paging: Paging, filters: Annotated[Filters, Query()]
) -> Response:
    """Newest first, in pages; with `Accept: text/csv` or `format=csv` all of them, oldest first, in one file."""
    if filters.format == "csv" or request.headers.get("accept", "").startswith("text/csv"):
        headers = {"content-disposition": 'attachment; filename="transactions.csv"', "cache-control": "no-store"}
        rows = services.transactions.csv(tenant, filters)
        return StreamingResponse(rows, headers=headers, media_type="text/csv; charset=utf-8")
    trail = await services.transactions.list_page(tenant, filters, paging.cursor, paging.limit)
    return JSONResponse(_page(trail).model_dump(mode="json"))


@router.get("/ledger", response_class=StreamingResponse, responses=_NDJSON)
async def download_ledger(
    tenant: Tenant, services: Services, after: Annotated[int, Query(ge=0, lt=2**63)] = 0
) -> StreamingResponse:
    """Every entry after `after` exactly as it was hashed, oldest first, a JSON object a line: `hash` is the sha256 of
    the previous hash and of seq, id, type, time and body with a line feed between them.
    """
    headers = {"content-disposition": 'attachment; filename="ledger.ndjson"', "cache-control": "no-store"}
    lines = services.download.lines(tenant, after)
    return StreamingResponse(lines, headers=headers, media_type="application/x-ndjson")


@router.get("/ledger/head")
async def get_head(
    tenant: Tenant, services: Services, position: Annotated[int | None, Query(ge=0, lt=2**63)] = None
) -> HeadOut:
    """The hash that closes the chain after entry `position`, or after the newest."""
    found = await services.download.head(tenant, position)
    return HeadOut(position=found.position, head_hash=found.head_hash)


@router.get("/files/{file_id}/history")
async def get_history(file_id: UUID, tenant: Tenant, services: Services, paging: Paging) -> Page[TransactionOut]:
    """Everything that happened to a file, newest first, also after its end."""
    trail = await services.transactions.list_page(tenant, Filters(file_id=file_id), paging.cursor, paging.limit)
    if not trail.rows and paging.cursor is None:
        raise FileNotFound
    return _page(trail)


def _page(trail: Trail) -> Page[TransactionOut]:
    cursor = None if trail.after is None else encode_cursor(*trail.after)
    return Page(items=[TransactionOut.of(row) for row in trail.rows], next_cursor=cursor)
