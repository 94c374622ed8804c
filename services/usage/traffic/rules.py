"""Traffic of projects and months. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from uuid import UUID

from services.usage.months import Month
from services.usage.traffic.snapshot import NONE, ProjectMonth, Projects
from shared.events import TrafficRecorded

Key = tuple[UUID, Month, UUID]  # tenant, its month, project or NONE


@dataclass(slots=True)
class Sum:
    bytes_in: int = 0
    bytes_out: int = 0
    requests: int = 0


def fold(events: Iterable[TrafficRecorded], zones: Mapping[UUID, tzinfo]) -> dict[Key, Sum]:
    """By tenant, month and project."""
    sums: dict[Key, Sum] = {}
    for event in events:
        month = month_of(event, zones[event.tenant_id])
        for item in event.items:
            held = sums.setdefault((event.tenant_id, month, item.project_id or NONE), Sum())
            held.bytes_in += item.bytes_in
            held.bytes_out += item.bytes_out
            held.requests += item.requests
    return sums


def month_of(event: TrafficRecorded, zone: tzinfo) -> Month:
    """A stretch over the end of a month is of the month it ends in; one that ends with the month is of that month."""
    return Month.of(event.until - timedelta(microseconds=1), zone)


def parts(found: Projects, month: Month, *, current: bool) -> list[ProjectMonth]:
    """One for each project with traffic or files, the largest first. Of the current month what is stored now, of any
    other what was stored at its end; what belongs to no project is the rest.
    """
    by_project = {part.project_id: _in(month, part) for part in found.months}
    if current:
        held = {project: max(0, size) for project, size in found.held.items()}
        whole: int | None = found.stored
    else:
        held = {project: part.storage_bytes for project, part in by_project.items() if project != NONE}
        whole = found.ended
    if whole is not None:
        held[NONE] = max(0, whole - sum(held.values()))
        for project in by_project.keys() | held.keys():
            part = by_project.get(project) or _nothing(project, month)
            by_project[project] = part.model_copy(update={"storage_bytes": held.get(project, 0)})
    return sorted((part for part in by_project.values() if part.created_at or part.storage_bytes), key=_by_size)


def _in(month: Month, part: ProjectMonth) -> ProjectMonth:
    """A row of an earlier month says only what is still there."""
    if (part.year, part.month) == month:
        return part
    return _nothing(part.project_id, month).model_copy(update={"storage_bytes": part.storage_bytes})


def _nothing(project: UUID, month: Month) -> ProjectMonth:
    return ProjectMonth(project_id=project, year=month.year, month=month.month)


def total(found: Iterable[ProjectMonth], month: Month) -> ProjectMonth:
    """The tenant's."""
    whole = _nothing(NONE, month)
    for part in found:
        whole.traffic_in += part.traffic_in
        whole.traffic_out += part.traffic_out
        whole.requests += part.requests
        whole.storage_bytes += part.storage_bytes
    return whole


def _by_size(part: ProjectMonth) -> tuple[int, int, UUID]:
    return -part.traffic, -part.storage_bytes, part.project_id
