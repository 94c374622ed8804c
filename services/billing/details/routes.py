"""`/api/billing/details`."""

from datetime import datetime

from fastapi import APIRouter

from services.billing.dependencies import Services, Tenant
from services.billing.details.parties import Buyer
from services.billing.errors import BooksOfManagers
from shared.http import CurrentTenant

router = APIRouter(prefix="/api/billing/details", tags=["invoices"])


class DetailsOut(Buyer):
    """`updated_at` is null while nobody entered any: then they are what is known of the team."""

    updated_at: datetime | None

    @classmethod
    def of(cls, buyer: Buyer, updated_at: datetime | None) -> "DetailsOut":
        return cls.model_construct(**buyer.model_dump(), updated_at=updated_at)


@router.get("")
async def get_details(who: CurrentTenant, tenant: Tenant, services: Services) -> DetailsOut:
    if not who.manages:
        raise BooksOfManagers
    return DetailsOut.of(*await services.details.get(tenant))


@router.put("")
async def put_details(body: Buyer, who: CurrentTenant, tenant: Tenant, services: Services) -> DetailsOut:
    """Taken into every invoice from now on."""
    if not who.manages:
        raise BooksOfManagers
    return DetailsOut.of(*await services.details.put(tenant, body, who.user_id))
