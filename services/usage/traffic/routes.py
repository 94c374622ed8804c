from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.usage.dependencies import Tenant, Usage
from services.usage.months import Month
from services.usage.traffic.schemas import MonthText, ProjectMonthOut, ProjectsOut

router = APIRouter(prefix="/api/usage/projects", tags=["usage"])

AskedMonth = Annotated[MonthText | None, Query(description="The month that runs, if none is named")]


@router.get("")
async def list_projects(tenant: Tenant, usage: Usage, month: AskedMonth = None) -> ProjectsOut:
    """Traffic of a month and storage of every project, and of the whole tenant: the largest traffic first."""
    return ProjectsOut.of(await usage.projects.list_all(tenant, _read(month)))


@router.get("/{project_id}")
async def get_project(project_id: UUID, tenant: Tenant, usage: Usage, month: AskedMonth = None) -> ProjectMonthOut:
    """Traffic and storage of one project in a month. 404 `project_not_found` for one that never had any."""
    return ProjectMonthOut.at(await usage.projects.get(tenant, project_id, _read(month)))


def _read(month: str | None) -> Month | None:
    return None if month is None else Month.read(month)
