from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from services.usage.dependencies import Tenant, Usage
from services.usage.past.schemas import PastOut

router = APIRouter(prefix="/api/usage", tags=["usage"])


@router.get("/at")
async def look_back(tenant: Tenant, usage: Usage, time: Annotated[AwareDatetime, Query()]) -> PastOut:
    """What was stored at a past moment (ISO 8601 with its zone): the fold of the ledger up to then."""
    return await usage.past.look_back(tenant, time)
