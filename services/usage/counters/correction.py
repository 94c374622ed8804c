from dataclasses import dataclass, field
from uuid import UUID

from services.usage.counters.tally import NOTHING, Amount, Hidden, Kind
from services.usage.months import Month


@dataclass(slots=True)
class Correction:
    """What has to be added to a tenant's counters, whatever has been counted since they were compared."""

    total: Amount = NOTHING
    trashed: Amount = NOTHING
    versions: Amount = NOTHING
    kinds: dict[Kind, Amount] = field(default_factory=dict)
    projects: dict[UUID, Amount] = field(default_factory=dict)
    users: dict[UUID, Amount] = field(default_factory=dict)
    hidden: Hidden = field(default_factory=Hidden)
    images: dict[Month, int] = field(default_factory=dict)
