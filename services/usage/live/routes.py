from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.usage.counters.schemas import SummaryOut
from services.usage.dependencies import Usage
from shared.http import ServiceOnly, Stopping, unless

router = APIRouter(prefix="/internal/usage", include_in_schema=False)


@router.get("/{tenant_id}/summary")
async def get_usage_summary(tenant_id: UUID, _caller: ServiceOnly, usage: Usage) -> SummaryOut:
    """For sister services what `GET /api/usage/summary` is for people (S4.10)."""
    return SummaryOut.of(await usage.reader.read(tenant_id))


@router.get("/{tenant_id}/wait")
async def wait_for_change(
    tenant_id: UUID,
    _caller: ServiceOnly,
    usage: Usage,
    stopping: Stopping,
    after: Annotated[int, Query(ge=0)],
    version: Annotated[int | None, Query(ge=0)] = None,
    timeout: Annotated[float, Query(ge=0, le=60)] = 20,
) -> SummaryOut:
    """The summary once its position passes `after` (or the terms change); unchanged after `timeout` seconds."""
    found = await unless(stopping, usage.live.wait(tenant_id, after, version, timeout))
    return SummaryOut.of(found or await usage.live.wait(tenant_id, after, version, 0))
