from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.usage.dependencies import Tenant, Usage
from services.usage.errors import NotTheManager
from services.usage.rebuild.schemas import RebuildOut, RecalculatedOut
from shared.http import AdminOnly, CurrentTenant, Page, Paging

router = APIRouter(prefix="/api/storage", tags=["usage"])
admin = APIRouter(prefix="/api/admin/usage", tags=["admin"])


@router.post("/recalculate")
async def recalculate(who: CurrentTenant, tenant: Tenant, usage: Usage) -> RecalculatedOut:
    """For owners and admins: compares ledger, files and store, adds the whole ledger up again and puts the counters
    right, should they differ.
    """
    if not who.manages:
        raise NotTheManager
    return RecalculatedOut.of(tenant, *await usage.recalculation.run(tenant))


@admin.post("/tenants/{tenant_id}/recalculate")
async def recalculate_tenant(
    tenant_id: UUID, _who: AdminOnly, usage: Usage, repair: Annotated[bool, Query()] = False
) -> RecalculatedOut:
    """`repair`: what the ledger has and the files have not, or the other way round, is put right, too, by entries of
    the ledger that say so.
    """
    return RecalculatedOut.of(tenant_id, *await usage.recalculation.run(tenant_id, repair_books=repair))


@admin.get("/rebuilds")
async def list_rebuilds(_who: AdminOnly, usage: Usage, page: Paging) -> Page[RebuildOut]:
    """Every comparison of counters with ledgers, newest first."""
    return await usage.recalculation.list_rebuilds(page)
