"""Credits as sister services spend them: hold before the work, settle what was used."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter

from services.billing.credits.schemas import (
    CreditDoneOut,
    CreditOfferOut,
    ReservationOut,
    ReserveIn,
    ServiceGrantIn,
    SettleIn,
    SpendIn,
)
from services.billing.dependencies import Services
from shared.http import ServiceOnly

router = APIRouter(prefix="/internal/credits/{tenant_id}", include_in_schema=False)


@router.get("/offer")
async def get_offer(tenant_id: UUID, use: str, services: Services, _caller: ServiceOnly) -> CreditOfferOut:
    found = services.credits.find_use(use)
    balance = (await services.credit_balance.now(tenant_id)).balance
    return CreditOfferOut(use=use, unit=found.unit, cost=found.cost, balance=balance)


@router.post("/grants", status_code=201)
async def grant(tenant_id: UUID, body: ServiceGrantIn, services: Services, caller: ServiceOnly) -> CreditDoneOut:
    return CreditDoneOut.of(
        await services.credits.add(
            tenant_id,
            body.amount,
            body.source,
            body.description,
            client_id=body.client_id,
            by=caller.issuer,
            expires_at=body.expires_at,
        )
    )


@router.post("/spend", status_code=201)
async def spend(tenant_id: UUID, body: SpendIn, services: Services, caller: ServiceOnly) -> CreditDoneOut:
    done = await services.credits.spend(tenant_id, body.use, body.quantity, client_id=body.client_id, by=caller.issuer)
    return CreditDoneOut.of(done)


@router.post("/reservations", status_code=201)
async def reserve(tenant_id: UUID, body: ReserveIn, services: Services, caller: ServiceOnly) -> ReservationOut:
    lifetime = timedelta(seconds=body.expires_in)
    done = await services.credits.reserve(
        tenant_id, body.use, body.quantity, lifetime, client_id=body.client_id, by=caller.issuer
    )
    return ReservationOut.of(done)


@router.post("/reservations/{reservation_id}/settle")
async def settle(
    tenant_id: UUID, reservation_id: UUID, body: SettleIn, services: Services, caller: ServiceOnly
) -> ReservationOut:
    return ReservationOut.of(await services.credits.settle(tenant_id, reservation_id, body.quantity, by=caller.issuer))


@router.post("/reservations/{reservation_id}/release")
async def release(tenant_id: UUID, reservation_id: UUID, services: Services, caller: ServiceOnly) -> ReservationOut:
    return ReservationOut.of(await services.credits.release(tenant_id, reservation_id, by=caller.issuer))
