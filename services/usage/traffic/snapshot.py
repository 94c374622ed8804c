from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

NONE = UUID(int=0)  # in place of a project: the tenant's files and requests that belong to none


class Stored(BaseModel):
    """What is held now; what lies in the trash and in older versions is part of `bytes` and `files`."""

    bytes: int = 0
    files: int = 0
    trashed_bytes: int = 0
    trashed_files: int = 0
    version_bytes: int = 0
    version_files: int = 0


class ProjectMonth(BaseModel):
    """Bytes; without times it has no row: the project has had no traffic and no change in the month. `stored`: of the
    month that runs.
    """

    project_id: UUID
    year: int
    month: int
    traffic_in: int = 0
    traffic_out: int = 0
    requests: int = 0
    storage_bytes: int = 0
    stored: Stored | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def traffic(self) -> int:
        return self.traffic_in + self.traffic_out


class ProjectAt(ProjectMonth):
    """As it was after ledger entry `position`."""

    position: int
    as_of: datetime


class Projects(BaseModel):
    """All of one moment, after ledger entry `position`: each project's newest row up to a month, what it holds now,
    what the tenant has stored, and what it had when the month `ended`; None where nobody knows any more.
    """

    months: list[ProjectMonth]
    held: dict[UUID, Stored]
    stored: Stored
    ended: int | None
    position: int
    as_of: datetime
