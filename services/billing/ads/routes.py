"""Ads watched for credits (S3.4)."""

from datetime import timedelta
from typing import cast
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel

from services.billing.ads.schemas import AdViewOut, AdViewStartedOut
from services.billing.ads.verification import custom_data
from services.billing.dependencies import Services, Tenant
from shared.http import CurrentTenant

router = APIRouter(prefix="/api/credits/ad-views", tags=["credits"])


class VerifiedOut(BaseModel):
    status: str


@router.post("", status_code=201)
async def start_ad_view(who: CurrentTenant, tenant: Tenant, services: Services) -> AdViewStartedOut:
    """The server's clock starts. An own view that is still open ends without a reward."""
    view, day = await services.ads.start(tenant, cast("UUID", who.user_id))
    within = timedelta(seconds=services.credit_catalogue.ads.complete_within)
    return AdViewStartedOut(
        ad_view_id=view.id,
        started_at=view.started_at,
        complete_before=view.started_at + within,
        custom_data=custom_data(tenant, view.id),
        rewarded_today=day.rewarded,
        daily_limit=day.limit,
        resets_at=day.resets_at,
    )


@router.get("/verify")
async def verify_ad_view(request: Request, services: Services) -> VerifiedOut:
    """Called by the ad network; signed over the query as AdMob does it."""
    return VerifiedOut(status=await services.ads.verify(request.scope["query_string"]))


@router.post("/{ad_view_id}/complete")
async def complete_ad_view(ad_view_id: UUID, who: CurrentTenant, tenant: Tenant, services: Services) -> AdViewOut:
    """Rewarded once, by how long the server saw it last; asked again, the same answer."""
    return AdViewOut.of(*await services.ads.complete(tenant, cast("UUID", who.user_id), ad_view_id))
