from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.usage.dependencies import Tenant, Usage
from services.usage.disk.schemas import DiskHistoryOut, DiskOut, DiskRunOut
from shared.http import AdminOnly, Page, Paging

router = APIRouter(prefix="/api/usage/disk", tags=["usage"])
admin = APIRouter(prefix="/api/admin/usage/disk", tags=["admin"])


@router.get("")
async def get_disk_usage(tenant: Tenant, usage: Usage) -> DiskOut:
    """What the volumes and images of the tenant's projects take, as last measured."""
    return await usage.disk.newest(tenant)


@router.get("/history")
async def get_disk_history(
    tenant: Tenant,
    usage: Usage,
    project_id: Annotated[UUID | None, Query()] = None,
    first: Annotated[date | None, Query(alias="from")] = None,
    last: Annotated[date | None, Query(alias="to")] = None,
) -> DiskHistoryOut:
    """Day by day (UTC), of one project or of all together; the last 30 days unless told otherwise, 366 at most."""
    return await usage.disk.history(tenant, project_id, first, last)


@admin.post("/collect", status_code=202)
async def collect_disk_usage(who: AdminOnly, usage: Usage) -> DiskRunOut:
    """Asks for the engine to be looked at now. Whoever asks while a run waits gets that one."""
    return await usage.disk.request_run(who.user_id)


@admin.get("/runs")
async def list_disk_runs(_who: AdminOnly, usage: Usage, page: Paging) -> Page[DiskRunOut]:
    """Every look at the engine, newest first, with what belongs to no project."""
    return await usage.disk.list_runs(page)
