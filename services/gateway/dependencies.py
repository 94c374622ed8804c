"""What routes ask for."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from services.gateway.accounts.service import Accounts
from services.gateway.door.arrival import Arrival
from services.gateway.errors import TenantNotFound, Unauthorized
from services.gateway.events.hub import Hub
from services.gateway.identity.visitors import Visitor, Visitors
from services.gateway.limits.service import Limits
from services.gateway.members.service import Members
from services.gateway.notifications.refusals import StopLinks
from services.gateway.projects.service import Projects
from services.gateway.sessions.service import Sessions
from services.gateway.sessions.tokens import AccessTokens
from services.gateway.settings import Settings
from services.gateway.tenants.service import Tenants
from services.gateway.traffic.service import Traffic
from shared.clock import Clock
from shared.db import Database
from shared.http import CurrentTenant, CurrentUser, ServiceClient


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """Everything the routes use, built once in `main`."""

    settings: Settings
    database: Database
    clock: Clock
    accounts: Accounts
    tenants: Tenants
    members: Members
    projects: Projects
    sessions: Sessions
    access: AccessTokens
    visitors: Visitors
    limits: Limits
    traffic: Traffic
    hub: Hub
    clients: dict[str, ServiceClient]  # upload, usage, billing
    form_key: bytes
    stop_links: StopLinks


async def _parts(request: Request) -> GatewayParts:
    parts: GatewayParts = request.app.state.parts
    return parts


def visitor_of(request: Request) -> Visitor:
    """As the door has recognised them; somebody who came past the door is nobody."""
    arrival: Arrival | None = request.scope.get("stowage")
    return arrival.visitor if arrival is not None else Visitor()


async def _visitor(request: Request) -> Visitor:
    return visitor_of(request)


async def _address(request: Request) -> str:
    arrival: Arrival | None = request.scope.get("stowage")
    return arrival.address if arrival is not None else "inside"


@dataclass(frozen=True, slots=True)
class Scope:
    """A person acting for a tenant, without the doubts."""

    tenant_id: UUID
    user_id: UUID


async def _scope(principal: CurrentTenant) -> Scope:
    if principal.tenant_id is None or principal.user_id is None:
        raise Unauthorized
    return Scope(principal.tenant_id, principal.user_id)


async def _user_id(principal: CurrentUser) -> UUID:
    if principal.user_id is None:
        raise Unauthorized
    return principal.user_id


async def _team(
    slug: Annotated[str, Path(max_length=64)],
    visitor: Annotated[Visitor, Depends(_visitor)],
    user: Annotated[UUID, Depends(_user_id)],
) -> Scope:
    """The tenant that the address names, whichever the header does. Raises TenantNotFound to whom it is not theirs."""
    membership = visitor.membership(slug)
    if membership is None:
        raise TenantNotFound
    return Scope(membership.tenant_id, user)


Parts = Annotated[GatewayParts, Depends(_parts)]
Caller = Annotated[Visitor, Depends(_visitor)]
Address = Annotated[str, Depends(_address)]
TenantUser = Annotated[Scope, Depends(_scope)]
Team = Annotated[Scope, Depends(_team)]
UserId = Annotated[UUID, Depends(_user_id)]
