"""Tokens against forged form posts, and the cookies they protect. Pure."""

import hmac
from base64 import urlsafe_b64encode
from http.cookies import CookieError, SimpleCookie

CSRF_LIFE = 12 * 3600  # seconds

ACCESS = "stowage_access"
REFRESH = "stowage_refresh"
VISIT = "stowage_visit"  # binds the forms of somebody who is not signed in

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def csrf_token(key: bytes, binding: str, now: float) -> str:
    """Belongs to one session (or one visit); valid for twelve hours. Fit for a form field, a header and a query."""
    stamp = f"{int(now):x}"
    return f"{stamp}.{_sign(key, binding, stamp)}"


def csrf_holds(key: bytes, binding: str, token: str, now: float) -> bool:
    stamp, _, signature = token.partition(".")
    try:
        age = now - int(stamp, 16)
    except ValueError:
        return False
    fresh = -60 <= age <= CSRF_LIFE
    return hmac.compare_digest(signature.encode(), _sign(key, binding, stamp).encode()) and fresh and bool(binding)


def read_cookies(header: str) -> dict[str, str]:
    """Ours among the cookies; what cannot be read is no cookie."""
    jar: SimpleCookie = SimpleCookie()
    for part in header.split(";"):
        if part.strip().startswith("stowage_"):
            try:
                jar.load(part.strip())
            except CookieError:
                continue
    return {name: morsel.value for name, morsel in jar.items()}


def cookie(name: str, value: str, *, max_age: int, secure: bool) -> bytes:
    """A Set-Cookie value that scripts cannot read and other sites' forms do not carry."""
    return f"{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}".encode()


def _sign(key: bytes, binding: str, stamp: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, f"csrf:{binding}:{stamp}".encode(), "sha256")[:18]).decode()
