from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel
from pydantic.json_schema import WithJsonSchema

from services.usage.months import Month
from services.usage.traffic.service import ProjectList
from services.usage.traffic.snapshot import NONE, ProjectAt, ProjectMonth
from shared.sizes import format_bytes

_MB, _GB = 1024**2, 1024**3
_NOW = ("files", "trashed_bytes", "trashed_files", "version_bytes", "version_files")


def _check_month(text: str) -> str:
    Month.read(text)
    return text


MonthText = Annotated[
    str, AfterValidator(_check_month), WithJsonSchema({"type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])$"})
]


class AmountsOut(BaseModel):
    """`traffic_bytes` is `traffic_in` (from clients) and `traffic_out` (to them) together. MB and GB are of 1024. What
    lies in the trash and in older versions is part of `storage_bytes` and `files`; that and `files` are what is held
    now, and null of any month but the one that runs.
    """

    year: int
    month: int
    traffic_bytes: int
    traffic_mb: float
    traffic_gb: float
    traffic_formatted: str
    traffic_in: int
    traffic_out: int
    requests: int
    storage_bytes: int
    storage_mb: float
    storage_gb: float
    storage_formatted: str
    files: int | None
    trashed_bytes: int | None
    trashed_files: int | None
    version_bytes: int | None
    version_files: int | None

    @classmethod
    def of(cls, found: ProjectMonth, **more: object) -> Self:
        stored = {} if found.stored is None else found.stored.model_dump(exclude={"bytes"})
        amounts = {
            **dict.fromkeys(_NOW),
            **stored,
            "year": found.year,
            "month": found.month,
            "traffic_bytes": found.traffic,
            "traffic_mb": round(found.traffic / _MB, 2),
            "traffic_gb": round(found.traffic / _GB, 2),
            "traffic_formatted": format_bytes(found.traffic),
            "traffic_in": found.traffic_in,
            "traffic_out": found.traffic_out,
            "requests": found.requests,
            "storage_bytes": found.storage_bytes,
            "storage_mb": round(found.storage_bytes / _MB, 2),
            "storage_gb": round(found.storage_bytes / _GB, 2),
            "storage_formatted": format_bytes(found.storage_bytes),
        }
        return cls.model_validate(amounts | more)


class ProjectUsageOut(AmountsOut):
    """`project_id` null: what belongs to no project. Without times nothing has happened in the month."""

    project_id: UUID | None
    created_at: datetime | None
    updated_at: datetime | None

    @classmethod
    def of_project(cls, found: ProjectMonth) -> Self:
        project = None if found.project_id == NONE else found.project_id
        return cls.of(found, project_id=project, created_at=found.created_at, updated_at=found.updated_at)


class ProjectMonthOut(ProjectUsageOut):
    """Of one moment: `position` is the last ledger entry counted."""

    position: int
    as_of: datetime

    @classmethod
    def at(cls, found: ProjectAt) -> Self:
        usage = ProjectUsageOut.of_project(found)
        return cls(**usage.model_dump(), position=found.position, as_of=found.as_of)


class ProjectsOut(BaseModel):
    """All of one moment, `position` being the last ledger entry counted; `items` sum to `total`."""

    items: list[ProjectUsageOut]
    total: AmountsOut
    position: int
    as_of: datetime

    @classmethod
    def of(cls, found: ProjectList) -> Self:
        items = [ProjectUsageOut.of_project(part) for part in found.items]
        return cls(items=items, total=AmountsOut.of(found.total), position=found.position, as_of=found.as_of)
