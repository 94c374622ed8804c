"""`/internal/reconciliation` for sister services, and the list of what came of it for administrators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.upload.dependencies import Services
from services.upload.reconciliation.schemas import ReconciliationOut
from shared.http import AdminOnly, Page, Paging, ServiceOnly, encode_cursor

internal = APIRouter(prefix="/internal/reconciliation", include_in_schema=False)
router = APIRouter(prefix="/api/admin/upload", tags=["admin"])


@internal.post("/{tenant_id}")
async def reconcile(
    tenant_id: UUID, services: Services, _caller: ServiceOnly, repair: Annotated[bool, Query()] = False
) -> ReconciliationOut:
    return await services.reconciler.reconcile(tenant_id, repair=repair)


@internal.get("/{tenant_id}")
async def get_newest(tenant_id: UUID, services: Services, _caller: ServiceOnly) -> ReconciliationOut:
    return await services.reconciler.get_newest(tenant_id)


@router.get("/reconciliations")
async def list_reconciliations(
    _who: AdminOnly,
    services: Services,
    paging: Paging,
    tenant: Annotated[UUID | None, Query()] = None,
    differing: Annotated[bool | None, Query()] = None,
) -> Page[ReconciliationOut]:
    """Ledger, account, files and objects as they were compared, newest first: what differed, which side is wrong and
    what was done. Of runs that found nothing the newest of each tenant is kept.
    """
    found = await services.reconciliations.list_newest(paging.limit + 1, paging.cursor, tenant, differing=differing)
    more, found = len(found) > paging.limit, found[: paging.limit]
    cursor = encode_cursor(found[-1].at.isoformat(), found[-1].id) if more else None
    return Page(items=[kept.result for kept in found], next_cursor=cursor)
