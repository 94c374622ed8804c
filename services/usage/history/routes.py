"""`/api/usage/history`, and the same for invoices between services."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from services.usage.dependencies import Tenant, Usage
from services.usage.history.buckets import Granularity
from services.usage.history.ranges import Asked
from services.usage.history.schemas import HistoryOut, Metric
from shared.http import ServiceOnly

router = APIRouter(prefix="/api/usage/history", tags=["usage"])
internal = APIRouter(prefix="/internal/usage", include_in_schema=False)


async def _asked(
    since: Annotated[AwareDatetime | None, Query(alias="from", description="ISO 8601 with its zone")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Now, if none is named")] = None,
    granularity: Granularity | None = None,
) -> Asked:
    return Asked(since, until, granularity)


Range = Annotated[Asked, Depends(_asked)]


@router.get("")
async def get_history(tenant: Tenant, usage: Usage, asked: Range, metric: Metric = "storage") -> HistoryOut:
    """What was stored or moved, bucket by bucket without gaps; the last 24 hours unless told otherwise, 1,500 items at
    most. 422 `in_the_future`, `range_invalid`, `range_too_long` and, for what is older than is kept,
    `history_not_kept`.
    """
    return await usage.history.read(tenant, metric, asked)


@internal.get("/{tenant_id}/history")
async def get_history_of(
    tenant_id: UUID, _caller: ServiceOnly, usage: Usage, asked: Range, metric: Metric = "storage"
) -> HistoryOut:
    return await usage.history.read(tenant_id, metric, asked)
