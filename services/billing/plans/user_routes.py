"""`/api/user/storage-plan` and `/api/user/upgrade-plan` (S0.5)."""

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel

from services.billing.catalogue.plan import Interval
from services.billing.dependencies import ManagedTenant, Services, Tenant
from services.billing.payments.routes import InitiatedOut, InitiateIn, own_address
from services.billing.plans.routes import UPGRADE_URL
from shared.events import PaymentMethod
from shared.http import CurrentTenant
from shared.sizes import format_bytes

router = APIRouter(prefix="/api/user", tags=["user"])


class StoragePlanOut(BaseModel):
    """`storage_limit` in bytes, null without a limit; `price` is decimal text of `currency` a `interval`, null when
    nothing is charged.
    """

    plan: str
    storage_limit: int | None
    storage_limit_formatted: str | None
    price: str | None
    currency: str | None
    interval: Interval | None
    current_period_end: datetime | None
    upgrade_url: str


class UpgradePlanIn(InitiateIn):
    method: PaymentMethod = "credit_card"


@router.get("/storage-plan")
async def get_storage_plan(tenant: Tenant, services: Services) -> StoragePlanOut:
    """What the team has of storage, and on which terms."""
    found = await services.subscriptions.get(tenant)
    limit = found.entitlements.storage_bytes
    return StoragePlanOut(
        plan=found.plan,
        storage_limit=limit,
        storage_limit_formatted=None if limit is None else format_bytes(limit),
        price=found.money.text if found.money else None,
        currency=found.currency,
        interval=found.interval,
        current_period_end=found.period_end,
        upgrade_url=UPGRADE_URL,
    )


@router.post("/upgrade-plan", status_code=201)
async def upgrade_plan(
    body: UpgradePlanIn, request: Request, who: CurrentTenant, tenant: ManagedTenant, services: Services
) -> InitiatedOut:
    """Starts paying for the plan; the team is on it when the money has come."""
    back = own_address(request, body.return_url)
    payment = await services.payments.initiate(
        tenant, str(who.tenant_slug), body.plan, body.method, back, currency=body.currency, interval=body.interval
    )
    return InitiatedOut.of(payment)
