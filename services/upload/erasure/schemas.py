"""Erasures as the API shows them."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel


class ErasureIn(BaseModel):
    tenant_id: UUID


class ErasureOut(BaseModel):
    """`status`: pending or done. `certificate` is the JSON text that `signature` was made of (HMAC-SHA256)."""

    tenant_id: UUID
    status: str
    requested_at: datetime
    ended_at: datetime | None
    waits_for: str | None
    certificate: str | None
    signature: str | None

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls(
            tenant_id=row["tenant_id"],
            status=row["status"],
            requested_at=row["requested_at"],
            ended_at=row["ended_at"],
            waits_for=row["error"],
            certificate=row["certificate"],
            signature=row["signature"],
        )


class CertificateIn(BaseModel):
    certificate: str
    signature: str


class CertificateOut(BaseModel):
    genuine: bool
