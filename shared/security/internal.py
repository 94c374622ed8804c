"""The token that carries a principal from the gateway (or a sister service) to a service.

HS256 over a secret all services share, for one audience, valid for a minute. A request without it is refused, so a
service that is reachable by accident still answers nobody.
"""

import time
from dataclasses import asdict
from typing import Any
from uuid import UUID

import jwt

from shared.security.principal import Principal

HEADER = "stowage-internal"
LIFETIME = 60  # seconds
LEEWAY = 5  # seconds between clocks


class InvalidToken(Exception):
    """Missing, altered, expired, or meant for another service."""


def sign(principal: Principal, *, secret: str, audience: str, issuer: str, lifetime: int = LIFETIME) -> str:
    claims = {key: str(v) if isinstance(v, UUID) else v for key, v in asdict(principal).items() if v is not None}
    claims |= {"iss": issuer, "aud": audience, "exp": int(time.time()) + lifetime}
    claims.pop("issuer", None)
    return jwt.encode(claims, secret, algorithm="HS256")


_seen: dict[tuple[str, str, str], tuple[float, Principal]] = {}


def verify(token: str, *, secret: str, audience: str) -> Principal:
    """Raises InvalidToken. A token already verified is looked up until it expires: the gateway sends it many times."""
    known = _seen.get((token, audience, secret))
    if known is not None and known[0] > time.time():
        return known[1]
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            audience=audience,
            leeway=LEEWAY,
            options={"require": ["exp", "iss", "aud", "kind"]},
        )
        principal = _principal(claims)
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
        raise InvalidToken(str(error)) from error
    if len(_seen) > 10_000:
        _seen.clear()
    _seen[token, audience, secret] = (float(claims["exp"]), principal)
    return principal


def _principal(claims: dict[str, Any]) -> Principal:
    return Principal(
        kind=claims["kind"],
        user_id=_uuid(claims.get("user_id")),
        tenant_id=_uuid(claims.get("tenant_id")),
        tenant_slug=claims.get("tenant_slug"),
        role=claims.get("role"),
        is_admin=bool(claims.get("is_admin")),
        email=claims.get("email"),
        name=claims.get("name"),
        issuer=claims["iss"],
    )


def _uuid(value: str | None) -> UUID | None:
    return None if value is None else UUID(value)
