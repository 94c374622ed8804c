"""`GET /api/storage/findings`, for administrators of the platform."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.upload.dependencies import Services
from services.upload.findings.models import Kind
from services.upload.findings.schemas import FindingOut
from shared.http import AdminOnly, Page, Paging, encode_cursor

router = APIRouter(prefix="/api/storage", tags=["admin"])


@router.get("/findings")
async def list_findings(
    _who: AdminOnly,
    services: Services,
    paging: Paging,
    kind: Annotated[Kind | None, Query()] = None,
    is_open: Annotated[bool | None, Query(alias="open")] = None,
) -> Page[FindingOut]:
    """Objects without a file and files without their object, of all tenants, newest first; with `open` only those that
    are still so, or only those that are not.
    """
    found = await services.findings.list_newest(paging.limit + 1, paging.cursor, kind, is_open=is_open)
    more, found = len(found) > paging.limit, found[: paging.limit]
    cursor = encode_cursor(found[-1].found_at.isoformat(), found[-1].id) if more else None
    return Page(items=[FindingOut.of(finding) for finding in found], next_cursor=cursor)
