from fastapi import APIRouter

from services.usage.dependencies import Tenant, Usage
from services.usage.forecast.schemas import ForecastsOut

router = APIRouter(prefix="/api/usage/forecast", tags=["usage"])


@router.get("")
async def get_forecast(tenant: Tenant, usage: Usage) -> ForecastsOut:
    """The day the storage will be full, and whether the month's traffic will last: by a robust trend of the last 90
    days, with an interval.
    """
    return await usage.forecast.forecast(tenant)
