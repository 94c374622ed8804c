from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from services.gateway.accounts.rules import normalise_email
from services.gateway.dependencies import Caller, Parts, Team, UserId
from services.gateway.errors import TenantNotFound
from services.gateway.tenants.repository import TenantRepository
from services.gateway.tenants.schemas import TenantChangeIn, TenantDetailOut, TenantFacts, TenantIn, TenantOut
from shared.http import Page, ServiceOnly

router = APIRouter(tags=["tenants"])
one = APIRouter(prefix="/api/tenants/{slug}", tags=["tenants"])


@router.get("/api/tenants")
async def list_tenants(user: UserId, parts: Parts) -> Page[TenantOut]:
    """The tenants the caller belongs to, oldest first."""
    account = await parts.accounts.get(user)
    return Page(items=[TenantOut.of(m) for m in account.memberships], next_cursor=None)


@router.post("/api/tenants", status_code=201)
async def create_tenant(body: TenantIn, user: UserId, caller: Caller, parts: Parts) -> TenantDetailOut:
    """One more team of the caller's own, as far as the plan of their first has teams."""
    made = await parts.tenants.create(user, body.name, body.timezone, body.locale)
    parts.visitors.forget_person(user)
    if caller.session_id is not None:
        parts.visitors.forget(caller.session_id)
    return TenantDetailOut.of(await parts.tenants.get(made.id))


@one.get("")
async def get_own_tenant(team: Team, parts: Parts) -> TenantDetailOut:
    return TenantDetailOut.of(await parts.tenants.get(team.tenant_id))


@one.patch("")
async def change_tenant(body: TenantChangeIn, team: Team, parts: Parts) -> TenantDetailOut:
    """For owners and admins: another name, time zone or language."""
    changed = await parts.tenants.change(
        team.tenant_id, team.user_id, name=body.name, timezone=body.timezone, locale=body.locale
    )
    return TenantDetailOut.of(changed)


@router.get("/internal/people/names", include_in_schema=False)
async def list_names(
    ids: Annotated[list[UUID], Query(alias="id", max_length=100)], parts: Parts, _caller: ServiceOnly
) -> dict[UUID, str]:
    """Of those that are known."""
    return await parts.accounts.names(ids)


@router.get("/internal/people/{email}/tenants", include_in_schema=False)
async def list_tenants_of(email: str, parts: Parts, _caller: ServiceOnly) -> list[UUID]:
    """The tenants of whoever has that address, oldest first."""
    account = await parts.accounts.find(normalise_email(email))
    return [] if account is None else [membership.tenant_id for membership in account.memberships]


@router.get("/internal/tenants/{tenant_id}", include_in_schema=False)
async def get_tenant(tenant_id: UUID, parts: Parts, _caller: ServiceOnly) -> TenantFacts:
    async with parts.database.transaction(tenant_id) as connection:
        found: dict[UUID, Any] = await TenantRepository(connection).find_owners([tenant_id])
    if tenant_id not in found:
        raise TenantNotFound
    row = found[tenant_id]
    return TenantFacts(slug=row["slug"], name=row["name"], owner_email=row["email"], timezone=row["timezone"])
