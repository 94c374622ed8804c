"""What does not fit together, as it was noted."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

Kind = Literal["orphan", "abandoned", "missing", "damaged"]
Outcome = Literal["removed", "owned", "back", "gone"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`size` in bytes; `tenant_id` None where the object does not tell. `outcome` None: it is still so."""

    id: UUID
    tenant_id: UUID | None
    kind: Kind
    location: str
    path: str
    size: int
    found_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
