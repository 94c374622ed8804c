"""May a team's projects have so much? Asked by the platform that runs them, before it gives it to them."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.billing.dependencies import Services, Tenant
from services.billing.errors import PlanLimit
from services.billing.plans.routes import UPGRADE_URL
from services.billing.subscriptions.limits import Needs, excess

router = APIRouter(tags=["plans"])


class NeedsIn(BaseModel):
    """Of all projects of the team together, what runs already and what is wanted. What is left out is not judged."""

    cpu: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Cores")
    memory_bytes: int | None = Field(default=None, ge=0)
    custom_domains: int | None = Field(default=None, ge=0, description="How many")


@router.post("/api/subscription/check", status_code=204)
async def check_needs(body: NeedsIn, tenant: Tenant, services: Services) -> None:
    """204 when the plan allows it; else 403 `plan_limit_cpu`, `plan_limit_memory` or `plan_limit_custom_domains`."""
    found = await services.subscriptions.get(tenant)
    above = excess(Needs(body.cpu, body.memory_bytes, body.custom_domains), found.entitlements)
    if above is not None:
        raise PlanLimit(above.what, above.asked, above.limit, UPGRADE_URL)
