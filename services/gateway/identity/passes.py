"""The signed header by which a service knows for whom the gateway speaks."""

from collections import OrderedDict
from time import monotonic

from services.gateway.identity.visitors import Visitor
from shared.security import Principal, sign

ISSUER = "gateway"

# Tokens live for a minute: one is used for the first half of it, so that none dies on its way.
REUSE_SECONDS = 25.0
_CAPACITY = 20_000


class Passes:
    """Signs internal tokens, one for many requests of the same principal."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._issued: OrderedDict[tuple[Principal, str], tuple[float, bytes]] = OrderedDict()

    def issue(self, principal: Principal, audience: str) -> bytes:
        now = monotonic()
        found = self._issued.get((principal, audience))
        if found is not None and found[0] > now:
            return found[1]
        token = sign(principal, secret=self._secret, audience=audience, issuer=ISSUER).encode()
        self._issued[principal, audience] = (now + REUSE_SECONDS, token)
        self._issued.move_to_end((principal, audience))
        if len(self._issued) > _CAPACITY:
            self._issued.popitem(last=False)
        return token


def principal_of(visitor: Visitor, slug: str | None) -> Principal:
    """For the tenant asked for. Raises TenantNotFound when the visitor does not belong to it."""
    account = visitor.account
    if account is None:
        return Principal(kind="anonymous", issuer=ISSUER)
    membership = visitor.membership(slug)
    return Principal(
        kind="user",
        user_id=account.id,
        tenant_id=membership.tenant_id if membership else None,
        tenant_slug=membership.slug if membership else None,
        role=membership.role if membership else None,
        is_admin=account.is_admin,
        email=account.email,
        name=account.name,
        issuer=ISSUER,
    )
