"""A team's subscription; and what it may use, for services that meet a tenant before its event."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.billing.catalogue.plan import Interval
from services.billing.dependencies import ManagedTenant, Services, Tenant
from services.billing.subscriptions.above import Above
from services.billing.subscriptions.changes import Wanted
from services.billing.subscriptions.repository import Subscription
from shared.events import Entitlements
from shared.http import ServiceOnly

router = APIRouter(tags=["plans"])

When = Literal["period_end", "now"]


class NextPlanOut(BaseModel):
    """What follows at `at`; without an interval it is free. `bytes_over` and `members_over` are what would be above it
    then, by what is used now.
    """

    plan: str
    interval: Interval | None
    at: datetime | None
    bytes_over: int | None
    members_over: int | None


class SubscriptionOut(BaseModel):
    """`price` is decimal text of `currency` a `interval`; all three are null where nothing is charged. `status`
    `past_due`: `open_invoice_id` waits for payment, and at `ends_at` the team is on the default plan. `bytes_over` and
    `members_over` are above what the plan allows, null where it is not known what is used: nothing is deleted, and
    uploads are refused until there is room.
    """

    plan: str
    plan_version: int
    status: str
    version: int
    entitlements: Entitlements
    price: str | None
    currency: str | None
    interval: Interval | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    next: NextPlanOut | None
    open_invoice_id: UUID | None
    ends_at: datetime | None
    bytes_over: int | None
    members_over: int | None

    @classmethod
    def of(cls, found: Subscription, above: Above) -> Self:
        following = found.next_plan and NextPlanOut(
            plan=found.next_plan,
            interval=found.next_interval,
            at=found.period_end,
            bytes_over=above.then.bytes_over if above.then else None,
            members_over=above.then.members_over if above.then else None,
        )
        return cls(
            plan=found.plan,
            plan_version=found.plan_version,
            status=found.status,
            version=found.version,
            entitlements=found.entitlements,
            price=found.money.text if found.money else None,
            currency=found.currency,
            interval=found.interval,
            current_period_start=found.period_start,
            current_period_end=found.period_end,
            next=following or None,
            open_invoice_id=found.invoice_id,
            ends_at=found.grace_until,
            bytes_over=above.now.bytes_over,
            members_over=above.now.members_over,
        )


class SubscriptionChangeIn(BaseModel):
    """`version` of the subscription as it was seen: where it is another by now, nothing is changed."""

    plan: str = Field(max_length=32)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    interval: Interval | None = None
    when: When = "period_end"
    version: int | None = None


class SubscriptionCancelIn(BaseModel):
    """As for a change to the free plan."""

    when: When = "period_end"
    version: int | None = None


@router.get("/api/subscription")
async def get_subscription(tenant: Tenant, services: Services) -> SubscriptionOut:
    return await _told(tenant, await services.subscriptions.get(tenant), services)


@router.post("/api/subscription/change")
async def change_subscription(body: SubscriptionChangeIn, tenant: ManagedTenant, services: Services) -> SubscriptionOut:
    """To less, at the end of what is paid for, or at once (`when`): then what is left of the period pays for the new
    one, and the rest of it is credit. What that does not cover is paid for first: 402. To the plan as it is: nothing
    is planned any more.
    """
    wanted = Wanted(body.plan, body.currency, body.interval, body.when == "now", body.version)
    return await _told(tenant, await services.changes.choose(tenant, wanted), services)


@router.post("/api/subscription/cancel")
async def cancel_subscription(body: SubscriptionCancelIn, tenant: ManagedTenant, services: Services) -> SubscriptionOut:
    """The default plan follows. Nothing is deleted; what is above its limits stays, and uploads are refused."""
    wanted = Wanted(services.catalogue.default.code, at_once=body.when == "now", version=body.version)
    return await _told(tenant, await services.changes.choose(tenant, wanted), services)


@router.post("/api/subscription/resume")
async def resume_subscription(tenant: ManagedTenant, services: Services) -> SubscriptionOut:
    """It goes on as it is: what was planned is not."""
    return await _told(tenant, await services.changes.choose(tenant, Wanted(None)), services)


async def _told(tenant: UUID, found: Subscription, services: Services) -> SubscriptionOut:
    return SubscriptionOut.of(found, await services.above.find(tenant, found))


@router.get("/internal/entitlements/{tenant_id}", include_in_schema=False)
async def get_entitlements(tenant_id: UUID, services: Services, _caller: ServiceOnly) -> dict[str, Any]:
    found = await services.subscriptions.get(tenant_id)
    return {
        "version": found.version,
        "plan": found.plan,
        "plan_version": found.plan_version,
        "entitlements": found.entitlements.model_dump(mode="json"),
    }
