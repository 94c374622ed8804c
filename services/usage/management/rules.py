"""When a calculation is too old, and what a deletion counts as. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from uuid import UUID

from shared.events import FileDeleted

STALE = timedelta(hours=12)  # S0.4

Kind = Literal["files", "trash", "versions"]
Day = tuple[UUID, date, Kind]


def is_stale(calculated: datetime, now: datetime) -> bool:
    return now - calculated > STALE


def kind_of(event: FileDeleted) -> Kind:
    """Where the file was when it left."""
    if event.version_of is not None:
        return "versions"
    return "trash" if event.trashed else "files"


@dataclass(slots=True)
class Left:
    files: int = 0
    bytes: int = 0


def days_of(deletions: Iterable[FileDeleted]) -> dict[Day, Left]:
    """Sums by tenant, day (UTC) and kind."""
    days: defaultdict[Day, Left] = defaultdict(Left)
    for event in deletions:
        left = days[event.tenant_id, event.deleted_at.astimezone(UTC).date(), kind_of(event)]
        left.files += 1
        left.bytes += event.size
    return days
