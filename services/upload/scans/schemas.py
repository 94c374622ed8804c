"""Scans as the API shows them."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel

from services.upload.scans.models import ScanResult


class ScanOut(BaseModel):
    """`size` in bytes. `verdict`: clean, infected (it was deleted, and what it had replaced is back) or too_large (it
    is blocked, unless this installation lets such files pass); `signature`: what was found, or which limit was met.
    """

    file_id: UUID
    file_name: str
    size: int
    sha256: str
    verdict: str
    signature: str | None
    at: datetime

    @classmethod
    def of(cls, result: ScanResult) -> Self:
        return cls.model_validate(result, from_attributes=True)
