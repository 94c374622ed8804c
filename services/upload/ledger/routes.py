"""The ledger's sums, for sister services."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime
from starlette.responses import StreamingResponse

from services.upload.dependencies import Services
from services.upload.ledger.schemas import FoldsIn, PastOut, ProofOut
from shared.http import ServiceOnly

router = APIRouter(prefix="/internal/ledger", include_in_schema=False)


@router.get("/{tenant_id}/proof")
async def prove(
    tenant_id: UUID, services: Services, _caller: ServiceOnly, position: Annotated[int | None, Query(ge=0)] = None
) -> ProofOut:
    return ProofOut.of(await services.proof.prove(tenant_id, position))


@router.get("/{tenant_id}/at")
async def look_back(
    tenant_id: UUID, services: Services, _caller: ServiceOnly, time: Annotated[AwareDatetime, Query()]
) -> PastOut:
    return PastOut.of(await services.proof.look_back(tenant_id, time))


@router.post("/folds", response_class=StreamingResponse)
async def fold(body: FoldsIn, services: Services, _caller: ServiceOnly) -> StreamingResponse:
    """What stretches of ledgers sum to, or all of every ledger, as CSV."""
    return StreamingResponse(services.folds.csv(body.stretches), media_type="text/csv")
