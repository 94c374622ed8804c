from fastapi import APIRouter

from services.usage.counters.schemas import SummaryOut
from services.usage.dependencies import Tenant, Usage

router = APIRouter(prefix="/api/usage", tags=["usage"])


@router.get("/summary")
async def get_summary(tenant: Tenant, usage: Usage) -> SummaryOut:
    """What the tenant stores, of its limit and by kind, at one moment."""
    return SummaryOut.of(await usage.reader.read(tenant))
