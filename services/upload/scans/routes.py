"""`GET /api/storage/scans`."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.upload.dependencies import Services, Tenant
from services.upload.scans.rules import VerdictName
from services.upload.scans.schemas import ScanOut
from shared.http import Page, Paging, encode_cursor

router = APIRouter(prefix="/api/storage", tags=["storage"])


@router.get("/scans")
async def list_scans(
    tenant: Tenant, services: Services, paging: Paging, verdict: Annotated[VerdictName | None, Query()] = None
) -> Page[ScanOut]:
    """What the scanner said of the team's files, newest first; also of those that are gone."""
    results = await services.scans.list_newest(tenant, paging.limit + 1, paging.cursor, verdict)
    more, results = len(results) > paging.limit, results[: paging.limit]
    cursor = encode_cursor(results[-1].at.isoformat(), results[-1].id) if more else None
    return Page(items=[ScanOut.of(result) for result in results], next_cursor=cursor)
