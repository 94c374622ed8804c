from fastapi import APIRouter

from services.usage.dependencies import Tenant, Usage
from services.usage.thresholds.schemas import AlertOut, ThresholdsOut
from shared.http import Page, Paging

router = APIRouter(prefix="/api/usage", tags=["usage"])


@router.get("/alerts")
async def list_alerts(tenant: Tenant, usage: Usage, page: Paging) -> Page[AlertOut]:
    """Alerts of the tenant, newest first."""
    return await usage.alerts.list_alerts(tenant, page)


@router.get("/thresholds")
async def list_thresholds(tenant: Tenant, usage: Usage) -> ThresholdsOut:
    """Percentages of the limit that raise an alert, and on which side of each the tenant stands."""
    return ThresholdsOut.of(await usage.reader.read(tenant))
