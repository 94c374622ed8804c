from datetime import date, datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel

from services.usage.management.snapshot import Management
from services.usage.tenants.models import Isolation


class CategoryAmountOut(BaseModel):
    """Bytes."""

    bytes: int
    files: int

    @classmethod
    def by_category(cls, found: Management) -> dict[str, Self]:
        return {name: cls(**amount.model_dump()) for name, amount in (found.storage_categories or {}).items()}


class CleanupDayOut(BaseModel):
    """What left for good on day `at` (UTC), `kind` saying where it was."""

    at: date
    kind: Literal["files", "trash", "versions"]
    bytes: int
    files: int


class StorageManagementOut(BaseModel):
    """As calculated `age_seconds` ago, bytes; the categories sum to `total_used`. `position` is the ledger entry
    counted by then, `user_id` the tenant's owner.
    """

    total_used: int
    last_calculation: datetime
    position: int
    age_seconds: float
    storage_categories: dict[str, CategoryAmountOut]
    cleanup_history: list[CleanupDayOut]
    user_id: UUID
    isolation: Isolation

    @classmethod
    def of(cls, found: Management, now: datetime) -> Self:
        same = {"total_used", "last_calculation", "position", "cleanup_history", "user_id", "isolation"}
        values = found.model_dump(include=same)
        age = (now - values["last_calculation"]).total_seconds()
        return cls(**values, age_seconds=max(0.0, age), storage_categories=CategoryAmountOut.by_category(found))
