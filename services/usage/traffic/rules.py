"""Traffic of projects and months. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Any
from uuid import UUID

from services.usage.months import Month
from services.usage.traffic.snapshot import NONE, ProjectMonth, Projects, Stored
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
    for project, amounts in (_now(found, by_project) if current else _then(found, by_project)).items():
        part = by_project.get(project) or _nothing(project, month)
        by_project[project] = part.model_copy(update=amounts)
    return sorted((part for part in by_project.values() if _is_there(part)), key=_by_size)


def _now(found: Projects, known: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
    held = {project: Stored() for project in known if project != NONE}
    held |= {project: _minus(stored, ()) for project, stored in found.held.items()}
    held[NONE] = _minus(found.stored, list(held.values()))
    return {project: {"storage_bytes": stored.bytes, "stored": stored} for project, stored in held.items()}


def _then(found: Projects, by_project: Mapping[UUID, ProjectMonth]) -> dict[UUID, dict[str, Any]]:
    if found.ended is None:
        return {}
    held = {project: part.storage_bytes for project, part in by_project.items() if project != NONE}
    held[NONE] = max(0, found.ended - sum(held.values()))
    return {project: {"storage_bytes": size} for project, size in held.items()}


def _minus(stored: Stored, others: Collection[Stored]) -> Stored:
    """Never less than nothing."""
    return Stored(**{name: max(0, size - sum(getattr(o, name) for o in others)) for name, size in stored})


def _is_there(part: ProjectMonth) -> bool:
    return bool(part.created_at or part.storage_bytes or part.stored not in (None, Stored()))


def _in(month: Month, part: ProjectMonth) -> ProjectMonth:
    """A row of an earlier month says only what is still there."""
    if (part.year, part.month) == month:
        return part
    return _nothing(part.project_id, month).model_copy(update={"storage_bytes": part.storage_bytes})


def _nothing(project: UUID, month: Month) -> ProjectMonth:
    return ProjectMonth(project_id=project, year=month.year, month=month.month)


def total(found: Sequence[ProjectMonth], month: Month, *, current: bool) -> ProjectMonth:
    """The tenant's."""
    whole = _nothing(NONE, month)
    if current:
        stored = [part.stored for part in found if part.stored is not None]
        whole.stored = Stored(**{name: sum(getattr(s, name) for s in stored) for name in Stored.model_fields})
    for part in found:
        whole.traffic_in += part.traffic_in
        whole.traffic_out += part.traffic_out
        whole.requests += part.requests
        whole.storage_bytes += part.storage_bytes
    return whole


def _by_size(part: ProjectMonth) -> tuple[int, int, UUID]:
    return -part.traffic, -part.storage_bytes, part.project_id
