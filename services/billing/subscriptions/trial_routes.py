"""A plan is tried."""

from datetime import datetime
from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.billing.dependencies import ManagedTenant, Services
from services.billing.subscriptions.repository import Subscription
from shared.events import Entitlements

router = APIRouter(tags=["plans"])


class TrialIn(BaseModel):
    """`version` of the subscription as it was seen: where it is another by now, nothing is changed."""

    plan: str = Field(max_length=32)
    version: int | None = None


class TrialOut(BaseModel):
    """At `ends_at` the team is on the default plan, unless it has paid for one."""

    plan: str
    plan_version: int
    status: str
    version: int
    entitlements: Entitlements
    ends_at: datetime | None

    @classmethod
    def of(cls, found: Subscription) -> Self:
        return cls(
            plan=found.plan,
            plan_version=found.plan_version,
            status=found.status,
            version=found.version,
            entitlements=found.entitlements,
            ends_at=found.period_end,
        )


@router.post("/api/subscription/trial")
async def try_plan(body: TrialIn, tenant: ManagedTenant, services: Services) -> TrialOut:
    """For a team on the default plan, once for each plan that offers it. Nothing is paid, and nothing is asked for when
    it is over. Paying for the plan ends the trial and begins a period at once.
    """
    return TrialOut.of(await services.trials.begin(tenant, body.plan, body.version))
