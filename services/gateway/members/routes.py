"""`/api/tenants/{slug}/members`."""

from uuid import UUID

from fastapi import APIRouter, Response

from services.gateway.dependencies import Parts, Team
from services.gateway.members.schemas import MemberIn, MemberOut, RoleIn
from shared.http import Page, Paging

router = APIRouter(prefix="/api/tenants/{slug}/members", tags=["tenants"])


@router.get("")
async def list_members(team: Team, parts: Parts, page: Paging) -> Page[MemberOut]:
    """The people of the tenant, oldest first."""
    found, more = await parts.members.list_page(team.tenant_id, page)
    return Page(items=[MemberOut.model_validate(member) for member in found], next_cursor=more)


@router.post("", status_code=201)
async def add_member(body: MemberIn, team: Team, parts: Parts) -> MemberOut:
    """For owners and admins: somebody who has an account, as far as the plan has seats."""
    added = await parts.members.add(team.tenant_id, team.user_id, body.email, body.role)
    return MemberOut.model_validate(added)


@router.patch("/{user_id}")
async def change_member(user_id: UUID, body: RoleIn, team: Team, parts: Parts) -> MemberOut:
    """For owners and admins: another role. The owner's stays."""
    changed = await parts.members.change_role(team.tenant_id, team.user_id, user_id, body.role)
    return MemberOut.model_validate(changed)


@router.delete("/{user_id}", status_code=204)
async def remove_member(user_id: UUID, team: Team, parts: Parts) -> Response:
    """For owners and admins. What they could reach through the tenant is gone at once; the owner stays."""
    await parts.members.remove(team.tenant_id, team.user_id, user_id)
    return Response(status_code=204)
