"""`/api/admin/erasures`, for administrators of the platform."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.upload.dependencies import Services
from services.upload.erasure.schemas import CertificateIn, CertificateOut, ErasureIn, ErasureOut
from shared.http import AdminOnly

router = APIRouter(prefix="/api/admin/erasures", tags=["admin"])


@router.post("", status_code=202)
async def request_erasure(body: ErasureIn, who: AdminOnly, services: Services) -> ErasureOut:
    """Everything a tenant stores goes, for good. From this answer on nothing new is accepted."""
    return ErasureOut.of(await services.erasure.request(body.tenant_id, who.user_id))


@router.get("")
async def get_erasure(tenant_id: Annotated[UUID, Query()], _who: AdminOnly, services: Services) -> ErasureOut:
    """How far it is, and in the end its certificate."""
    return ErasureOut.of(await services.erasure.get(tenant_id))


@router.post("/check")
async def check_certificate(body: CertificateIn, _who: AdminOnly, services: Services) -> CertificateOut:
    """Whether a certificate is one of ours, unaltered."""
    return CertificateOut(genuine=services.erasure.is_ours(body.certificate, body.signature))
