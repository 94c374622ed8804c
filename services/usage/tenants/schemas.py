from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel

from services.usage.management.schemas import CategoryAmountOut
from services.usage.management.snapshot import Management
from services.usage.tenants.models import Isolation


class IsolationIn(BaseModel):
    isolation: Isolation


class IsolationOut(BaseModel):
    """`isolation` as it was chosen, `place` where the tenant's storage management is now: the same once it has moved.

    `schema_name` while it has a schema. Bytes; nothing is calculated before the tenant is provisioned.
    """

    tenant_id: UUID
    isolation: Isolation
    place: Isolation | None
    schema_name: str | None
    last_calculation: datetime | None
    total_used: int | None
    storage_categories: dict[str, CategoryAmountOut]

    @classmethod
    def of(cls, found: Management) -> Self:
        return cls(
            tenant_id=found.tenant_id,
            isolation=found.isolation,
            place=found.place,
            schema_name=found.schema_name,
            last_calculation=found.last_calculation,
            total_used=found.total_used,
            storage_categories=CategoryAmountOut.by_category(found),
        )
