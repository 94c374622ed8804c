from uuid import UUID

from fastapi import APIRouter, Response

from services.gateway.dependencies import Parts, TenantUser
from services.gateway.projects.schemas import ProjectIn, ProjectOut
from shared.http import Page, Paging

router = APIRouter(prefix="/api/projects", tags=["projects"])


@router.get("")
async def list_projects(scope: TenantUser, parts: Parts, page: Paging) -> Page[ProjectOut]:
    """Of the tenant, oldest first. What each uses: `GET /api/usage/projects`."""
    found, more = await parts.projects.list_page(scope.tenant_id, page)
    return Page(items=[ProjectOut.model_validate(project) for project in found], next_cursor=more)


@router.post("", status_code=201)
async def create_project(body: ProjectIn, scope: TenantUser, parts: Parts) -> ProjectOut:
    """For owners and admins, as far as the plan has projects."""
    return ProjectOut.model_validate(await parts.projects.create(scope.tenant_id, scope.user_id, body.name))


@router.delete("/{project_id}", status_code=204)
async def delete_project(project_id: UUID, scope: TenantUser, parts: Parts) -> Response:
    """For owners and admins. Its files stay, and go on being counted under its id."""
    await parts.projects.delete(scope.tenant_id, scope.user_id, project_id)
    return Response(status_code=204)
