from fastapi import APIRouter

from services.gateway.accounts.schemas import MeOut, ProfileIn
from services.gateway.dependencies import Caller, Parts, UserId

router = APIRouter(prefix="/api/me", tags=["me"])


@router.get("")
async def get_me(user: UserId, parts: Parts) -> MeOut:
    """The person signed in, with their tenants, oldest first."""
    return MeOut.of(await parts.accounts.get(user))


@router.patch("")
async def change_me(body: ProfileIn, user: UserId, caller: Caller, parts: Parts) -> MeOut:
    """Changes name or locale; whatever else the body holds stays as it is."""
    account = await parts.accounts.change_profile(user, body.name, body.locale)
    if caller.session_id is not None:
        parts.visitors.forget(caller.session_id)
    return MeOut.of(account)
