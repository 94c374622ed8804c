"""One tenant's reconciliation while it is under way."""

from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from services.upload.ledger.rules import Entry
from services.upload.reconciliation.rules import Difference, Look, Objects
from shared.events import StorageAdjusted


@dataclass(slots=True)
class Report:
    """`objects` None: nobody looked into the store. `ripe`: the same gap was there some time ago. `recounted`: months
    whose images were put right, which takes no entry.
    """

    id: UUID
    tenant: UUID
    at: datetime
    look: Look
    hidden: dict[str, int]
    differences: list[Difference]
    objects: Objects | None = None
    repaired: list[Entry[StorageAdjusted]] = field(default_factory=list)
    recounted: list[date] = field(default_factory=list)
    ripe: bool = False

    @property
    def is_repaired(self) -> bool:
        return bool(self.repaired or self.recounted)

    @property
    def outcome(self) -> str:
        if self.is_repaired:
            return "repaired"
        return "differs" if self.differences else "agrees"
