"""`POST /api/storage/quota/check`."""

from fastapi import APIRouter

from services.upload.dependencies import Services, Tenant
from services.upload.preflight.schemas import CheckIn, CheckOut, FileVerdict
from services.upload.quota.schemas import QuotaOut

router = APIRouter(prefix="/api/storage", tags=["storage"])


@router.post("/quota/check")
async def check_quota(body: CheckIn, tenant: Tenant, services: Services) -> CheckOut:
    """Which of up to 1,000 files would fit, what is missing, and the plan that would hold them. Reserves nothing."""
    asked = [file.asked() for file in body.files]
    verdict, state, plan = await services.preflight.check(tenant, asked, resumable=body.resumable)
    return CheckOut(
        fits=not any(verdict.reasons),
        files=[FileVerdict(fits=not reasons, reasons=reasons) for reasons in verdict.reasons],
        missing=verdict.missing,
        quota=QuotaOut.of(state),
        plan=plan,
        upgrade_url=services.intake.policy.upgrade_url,
    )
