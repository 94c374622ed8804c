"""`GET /internal/entitlements/{tenant}`: for services that meet a tenant before its event."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from services.billing.dependencies import Services
from shared.http import ServiceOnly

router = APIRouter(prefix="/internal", include_in_schema=False)


@router.get("/entitlements/{tenant_id}")
async def get_entitlements(tenant_id: UUID, services: Services, _caller: ServiceOnly) -> dict[str, Any]:
    found = await services.subscriptions.get(tenant_id)
    return {
        "version": found.version,
        "plan": found.plan,
        "plan_version": found.plan_version,
        "entitlements": found.entitlements.model_dump(mode="json"),
    }
