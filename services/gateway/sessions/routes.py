"""Signing up, in, on and out."""

from typing import Any

from fastapi import APIRouter, Response

from services.gateway.accounts.schemas import SignUpIn, UserOut
from services.gateway.accounts.service import Application
from services.gateway.dependencies import Address, Caller, Parts
from services.gateway.sessions.schemas import LogInIn, LogOutIn, RefreshIn, SignedInOut, TokensOut
from services.gateway.tenants.schemas import TenantOut

router = APIRouter(tags=["auth"])


@router.post("/api/auth/signup", status_code=201)
async def sign_up(body: SignUpIn, parts: Parts, address: Address) -> SignedInOut:
    """Makes person, profile, tenant and session; the tenant can store files at once."""
    parts.limits.signup(address)
    made = await parts.accounts.sign_up(Application(**body.model_dump()))
    tenant = TenantOut(id=made.tenant.id, slug=made.tenant.slug, name=made.tenant.name, role="owner")
    return SignedInOut(**TokensOut.of(made.tokens).model_dump(), user=UserOut.of(made.account), tenant=tenant)


@router.post("/api/auth/login")
async def log_in(body: LogInIn, parts: Parts, address: Address) -> SignedInOut:
    """The same 401 for an unknown address and a wrong password."""
    parts.limits.login(address, body.email)
    tokens = await parts.accounts.log_in(body.email, body.password)
    account = await parts.accounts.get(tokens.user_id)
    tenant = TenantOut.of(account.memberships[0]) if account.memberships else None
    return SignedInOut(**TokensOut.of(tokens).model_dump(), user=UserOut.of(account), tenant=tenant)


@router.post("/api/auth/refresh")
async def refresh(body: RefreshIn, parts: Parts) -> TokensOut:
    """Trades the refresh token for a new pair. A token used before ends the whole session: 401 for both holders."""
    return TokensOut.of(await parts.sessions.refresh(body.refresh_token))


@router.post("/api/auth/logout", status_code=204)
async def log_out(parts: Parts, caller: Caller, body: LogOutIn | None = None) -> Response:
    """Ends the session of the access token, or of the refresh token in the body. Safe to repeat."""
    session = caller.session_id
    if session is not None:
        await parts.sessions.end(session)
    if body is not None and body.refresh_token:
        session = await parts.sessions.end_of(body.refresh_token) or session
    if session is not None:
        parts.visitors.forget(session)
    return Response(status_code=204)


@router.get("/.well-known/jwks.json")
async def jwks(parts: Parts, response: Response) -> dict[str, Any]:
    """The public key of access tokens (RFC 7517)."""
    response.headers["cache-control"] = "public, max-age=3600"
    return parts.access.jwks()
