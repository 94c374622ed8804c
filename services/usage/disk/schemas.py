from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field


class DiskAmountOut(BaseModel):
    """Bytes of the volumes and images, and how many there are; `unknown` of them have a size nobody knows, and add
    nothing to the bytes.
    """

    volumes_bytes: int
    images_bytes: int
    volumes: int
    images: int
    unknown: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total_bytes(self) -> int:
        return self.volumes_bytes + self.images_bytes


class ProjectDiskOut(DiskAmountOut):
    project_id: UUID


class DiskOut(BaseModel):
    """By the newest run, which began at `as_of`: null before the first. The projects, the largest first, sum to
    `total`. `position` is the last ledger entry counted.
    """

    as_of: datetime | None
    position: int
    total: DiskAmountOut
    projects: list[ProjectDiskOut]

    @classmethod
    def of(cls, rows: Iterable[Any]) -> Self:
        rows = list(rows)
        first = rows[0]
        projects = [ProjectDiskOut(**dict(row)) for row in rows if row["project_id"] is not None]
        return cls(as_of=first["as_of"], position=first["position"], total=_sum(projects), projects=projects)


class DiskDayOut(DiskAmountOut):
    """`taken_at`: when the day's last run began."""

    day: date
    taken_at: datetime


class DiskHistoryOut(BaseModel):
    """Both days are part of it. Days without a successful run are missing. All of one moment, `position` being the last
    ledger entry counted.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    project_id: UUID | None
    first: date = Field(alias="from")
    last: date = Field(alias="to")
    position: int
    as_of: datetime
    days: list[DiskDayOut]


class DiskRunOut(BaseModel):
    """`engine` and `api`: who answered, in which version of its API. `volumes_bytes` and `images_bytes` are those of
    all `projects`; `unassigned` volumes and images are nobody's, `mislabelled` of them by a label that names nobody.
    """

    id: UUID
    status: Literal["waiting", "running", "done", "failed"]
    requested_at: datetime
    requested_by: UUID | None
    started_at: datetime | None
    finished_at: datetime | None
    engine: str | None
    api: str | None
    projects: int
    volumes_bytes: int
    images_bytes: int
    unassigned_volumes_bytes: int
    unassigned_images_bytes: int
    unassigned: int
    mislabelled: int
    unknown: int
    error: str | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total_bytes(self) -> int:
        assigned = self.volumes_bytes + self.images_bytes
        return assigned + self.unassigned_volumes_bytes + self.unassigned_images_bytes

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls(**_without(row, "day"))


def _without(row: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _sum(amounts: Iterable[DiskAmountOut]) -> DiskAmountOut:
    amounts = list(amounts)
    return DiskAmountOut(
        volumes_bytes=sum(amount.volumes_bytes for amount in amounts),
        images_bytes=sum(amount.images_bytes for amount in amounts),
        volumes=sum(amount.volumes for amount in amounts),
        images=sum(amount.images for amount in amounts),
        unknown=sum(amount.unknown for amount in amounts),
    )
