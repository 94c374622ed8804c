"""What can be had, and what the team has."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from services.billing.dependencies import Services, Tenant
from shared.events import Entitlements
from shared.http import CurrentPrincipal

router = APIRouter(prefix="/api", tags=["plans"])


class PlanOut(BaseModel):
    """`price` is decimal text of `currency` a `interval`; all three are null for a free plan."""

    code: str
    name: str
    version: int
    price: str | None
    currency: str | None
    interval: Literal["month", "year"] | None
    entitlements: Entitlements
    current: bool


class PlansOut(BaseModel):
    items: list[PlanOut]


class SubscriptionOut(BaseModel):
    plan: str
    plan_version: int
    status: str
    version: int
    entitlements: Entitlements
    current_period_end: datetime | None


@router.get("/plans")
async def list_plans(who: CurrentPrincipal, services: Services) -> PlansOut:
    """Free ones first, then by price. `current` marks the caller's team's, listed even if it is not public."""
    current = None
    if who.tenant_id is not None:
        current = (await services.subscriptions.get(who.tenant_id)).plan
    plans = sorted(services.catalogue.plans.values(), key=lambda p: p.price.money.amount if p.price else 0)
    return PlansOut(
        items=[
            PlanOut(
                code=plan.code,
                name=plan.name,
                version=plan.version,
                price=plan.price.money.text if plan.price else None,
                currency=plan.price.currency if plan.price else None,
                interval=plan.price.interval if plan.price else None,
                entitlements=plan.entitlements,
                current=plan.code == current,
            )
            for plan in plans
            if plan.public or plan.code == current
        ]
    )


@router.get("/subscription")
async def get_subscription(tenant: Tenant, services: Services) -> SubscriptionOut:
    found = await services.subscriptions.get(tenant)
    return SubscriptionOut(
        plan=found.plan,
        plan_version=found.plan_version,
        status=found.status,
        version=found.version,
        entitlements=found.entitlements,
        current_period_end=found.period_end,
    )
