"""Refresh tokens: what they are and when one may be used. Pure."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

SESSION_LIFE = timedelta(days=30)

# Two tabs of one browser may wake at once with the same cookie. Only pages get this grace, the API gets none.
PAGE_GRACE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Session:
    """A family of refresh tokens: each use of the newest makes the next one."""

    id: UUID
    user_id: UUID
    expires_at: datetime
    ended_at: datetime | None


class Verdict(Enum):
    ROTATE = "rotate"  # the token is the family's newest
    REPEAT = "repeat"  # a twin of the same moment: the same successor again
    REFUSE = "refuse"  # the family is over
    REUSE = "reuse"  # an old token came back: one of two holders is a thief, so the family ends


def judge(
    session: Session, used_at: datetime | None, *, successor_used: bool, now: datetime, grace: timedelta
) -> Verdict:
    """What a refresh token that exists is worth at `now`."""
    if session.ended_at is not None or now >= session.expires_at:
        return Verdict.REFUSE
    if used_at is None:
        return Verdict.ROTATE
    if now - used_at < grace and not successor_used:
        return Verdict.REPEAT
    return Verdict.REUSE


def new_token() -> str:
    return urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def successor_of(token: str, key: bytes) -> str:
    """The next token of the family. Always the same one, so that a repeat within the grace starts no second branch."""
    return urlsafe_b64encode(hmac.digest(key, b"refresh-successor:" + token.encode(), "sha256")).decode().rstrip("=")


def digest(token: str) -> bytes:
    """What is stored. The token has 256 random bits: a slow hash would add nothing."""
    return hashlib.sha256(token.encode()).digest()
