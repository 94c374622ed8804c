"""What can be had, and what the team has."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.billing.catalogue.plan import Interval, Price
from services.billing.dependencies import Services
from services.billing.plans.rules import Kind
from services.billing.plans.service import Change, Offer, Wish
from shared.events import Entitlements
from shared.http import CurrentPrincipal

router = APIRouter(prefix="/api", tags=["plans"])


UPGRADE_URL = "/app/plans"


class PriceOut(BaseModel):
    """`amount` is decimal text of `currency`."""

    amount: str
    currency: str
    interval: Interval

    @classmethod
    def of(cls, price: Price) -> Self:
        return cls(amount=price.money.text, currency=price.currency, interval=price.interval)


class PlanChangeOut(BaseModel):
    """What going over to the plan would be: `none` where that is not sold to a team. `price` is that of a whole period,
    `due_now` what is paid for it at once, both decimal text of `currency`. `bytes_over` and `members_over` are above
    what the plan allows, null where it is not known what is used: nothing is deleted, uploads are refused.
    `effective_at` is null where nothing changes.
    """

    kind: Kind
    price: str
    currency: str
    due_now: str
    bytes_over: int | None
    members_over: int | None
    effective_at: datetime | None
    upgrade_url: str | None

    @classmethod
    def of(cls, change: Change) -> Self:
        return cls(
            kind=change.kind,
            price=change.price.text,
            currency=change.price.currency,
            due_now=change.due_now.text,
            bytes_over=change.bytes_over,
            members_over=change.members_over,
            effective_at=change.effective_at,
            upgrade_url=UPGRADE_URL if change.kind == "upgrade" else None,
        )


class PlanOut(BaseModel):
    """`price` is decimal text of `currency` a `interval`: as asked for, or the nearest of `prices`; all three are null
    for a free plan. It may be tried for `trial_days`, 0 where it may not; `may_try` says whether the team still may.
    That and `change` are null when no team asks.
    """

    code: str
    name: str
    version: int
    price: str | None
    currency: str | None
    interval: Interval | None
    prices: list[PriceOut]
    entitlements: Entitlements
    trial_days: int
    may_try: bool | None
    current: bool
    change: PlanChangeOut | None

    @classmethod
    def of(cls, offer: Offer) -> Self:
        plan, price = offer.plan, offer.price
        return cls(
            code=plan.code,
            name=plan.name,
            version=plan.version,
            price=price.money.text if price else None,
            currency=price.currency if price else None,
            interval=price.interval if price else None,
            prices=[PriceOut.of(one) for one in plan.prices],
            entitlements=plan.entitlements,
            trial_days=plan.trial_days,
            may_try=offer.may_try,
            current=offer.current,
            change=PlanChangeOut.of(offer.change) if offer.change else None,
        )


class UsedOut(BaseModel):
    """The team's bytes at `position` of its ledger."""

    bytes: int | None
    position: int
    as_of: datetime


class PlansOut(BaseModel):
    """`used` is null when no team asks, or `usage` does not answer."""

    items: list[PlanOut]
    used: UsedOut | None
    as_of: datetime


@router.get("/plans")
async def list_plans(
    who: CurrentPrincipal,
    services: Services,
    currency: Annotated[str | None, Query(pattern="^[A-Z]{3}$")] = None,
    interval: Interval | None = None,
) -> PlansOut:
    """Free ones first, then by price. `current` marks the version the caller's team has, listed even if it is not sold
    any more; `change` says what going over to another would be.
    """
    found = await services.plans.list_offers(who.tenant_id, Wish(currency, interval))
    used = found.used
    return PlansOut(
        items=[PlanOut.of(offer) for offer in found.items],
        used=UsedOut(bytes=used.amounts.get("storage"), position=used.position, as_of=used.as_of) if used else None,
        as_of=found.as_of,
    )
