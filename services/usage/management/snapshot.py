from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.usage.tenants.models import Isolation


class CategoryAmount(BaseModel):
    model_config = ConfigDict(frozen=True)

    bytes: int
    files: int


class Cleanup(BaseModel):
    """What left on one day, UTC."""

    model_config = ConfigDict(frozen=True)

    at: date
    kind: Literal["files", "trash", "versions"]
    bytes: int
    files: int


class Management(BaseModel):
    """A tenant's storage management as it was calculated last, wherever it is kept."""

    model_config = ConfigDict(frozen=True)

    tenant_id: UUID
    isolation: Isolation
    place: Isolation | None
    number: int
    position: int
    total_used: int | None
    last_calculation: datetime | None
    storage_categories: dict[str, CategoryAmount] | None
    cleanup_history: list[Cleanup] | None
    user_id: UUID | None

    @property
    def schema_name(self) -> str | None:
        return f"client_{self.number}" if self.place == "schema" else None

    @property
    def lost(self) -> bool:
        """Its place holds nothing: seen while it is being moved."""
        return self.place is not None and self.last_calculation is None
