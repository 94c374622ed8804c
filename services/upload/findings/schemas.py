"""Findings as the API shows them."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel

from services.upload.findings.models import Finding, Kind, Outcome


class FindingOut(BaseModel):
    """`path` in the store `location`; `size` in bytes. `tenant_id` is null where the object does not tell, `outcome` as
    long as it is so.
    """

    id: UUID
    tenant_id: UUID | None
    kind: Kind
    location: str
    path: str
    size: int
    found_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None

    @classmethod
    def of(cls, finding: Finding) -> Self:
        return cls.model_validate(finding, from_attributes=True)
