"""Who is asking, as FastAPI dependencies.

All of them are coroutines: FastAPI runs plain functions in a thread, and twenty hops cost an upload 3 ms.
"""

from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Request

from shared.errors import DomainError
from shared.security import Principal


async def current_principal(request: Request) -> Principal:
    """Set by the middleware that read the token; nobody in particular where there is none."""
    principal = getattr(request.state, "principal", None)
    return principal if isinstance(principal, Principal) else Principal()


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]


async def _user(principal: CurrentPrincipal) -> Principal:
    if principal.kind != "user" or principal.user_id is None:
        raise DomainError("unauthorized", 401, "Sign in first.")
    return principal


CurrentUser = Annotated[Principal, Depends(_user)]


async def _tenant(principal: CurrentUser) -> Principal:
    if principal.tenant_id is None:
        raise DomainError("tenant_required", 403, "Name a tenant you belong to with X-Tenant.")
    return principal


CurrentTenant = Annotated[Principal, Depends(_tenant)]


async def member_of_tenant(request: Request) -> tuple[Principal, UUID]:
    """As CurrentTenant, where no route is there to depend on it. Raises DomainError."""
    who = await _tenant(await _user(await current_principal(request)))
    return who, cast("UUID", who.tenant_id)


async def _admin(principal: CurrentUser) -> Principal:
    if not principal.is_admin:
        raise DomainError("admin_required", 403, "Only platform administrators may do this.")
    return principal


AdminOnly = Annotated[Principal, Depends(_admin)]


async def _service(principal: CurrentPrincipal) -> Principal:
    # To everybody else the internal routes do not exist.
    if principal.kind != "service":
        raise DomainError("not_found", 404, "Not Found")
    return principal


ServiceOnly = Annotated[Principal, Depends(_service)]
