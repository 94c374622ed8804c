from fastapi import APIRouter

from services.usage.dependencies import Tenant, Usage
from services.usage.proof.schemas import ProofOut

router = APIRouter(prefix="/api/usage", tags=["usage"])


@router.get("/proof")
async def prove_usage(tenant: Tenant, usage: Usage) -> ProofOut:
    """Ledger, counters and store at one position: `equal`, or where they differ."""
    return await usage.proof.prove(tenant)
