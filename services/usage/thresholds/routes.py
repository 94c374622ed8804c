from typing import Annotated

from fastapi import APIRouter, Query

from services.usage.dependencies import Tenant, Usage
from services.usage.errors import NotTheManager
from services.usage.thresholds.schemas import AlertsOut, ThresholdsIn, ThresholdsOut
from shared.events import Metric
from shared.http import CurrentTenant, Paging
from shared.security import Principal

router = APIRouter(prefix="/api/usage", tags=["usage"])

Measured = Annotated[Metric, Query()]


@router.get("/alerts")
async def list_alerts(
    tenant: Tenant, usage: Usage, page: Paging, metric: Annotated[Metric | None, Query()] = None
) -> AlertsOut:
    """Alerts of the tenant, newest first."""
    return await usage.alerts.list_alerts(tenant, page, metric)


@router.get("/thresholds")
async def list_thresholds(tenant: Tenant, usage: Usage, metric: Measured = "storage") -> ThresholdsOut:
    """What raises an alert, and on which side of each the tenant stands."""
    return ThresholdsOut.of(await usage.choices.get(tenant, metric))


@router.put("/thresholds")
async def put_thresholds(body: ThresholdsIn, who: CurrentTenant, tenant: Tenant, usage: Usage) -> ThresholdsOut:
    """For owners and admins: all thresholds of the metric, judged at once. None at all: nobody is told of anything."""
    _check_manager(who)
    thresholds = [item.threshold for item in body.items]
    return ThresholdsOut.of(await usage.choices.choose(tenant, body.metric, thresholds))


@router.delete("/thresholds")
async def reset_thresholds(
    who: CurrentTenant, tenant: Tenant, usage: Usage, metric: Measured = "storage"
) -> ThresholdsOut:
    """For owners and admins: 80, 95 and 100 % again, or none where no plan has a limit."""
    _check_manager(who)
    return ThresholdsOut.of(await usage.choices.choose(tenant, metric, None))


def _check_manager(who: Principal) -> None:
    if not who.manages:
        raise NotTheManager
