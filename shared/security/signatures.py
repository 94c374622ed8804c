"""HMAC-SHA256 over text, for links that carry their own permission."""

import base64
import hashlib
import hmac
from collections.abc import Sequence


def make(secret: str, *parts: object) -> str:
    """URL-safe base64 without padding, 43 characters."""
    digest = hmac.digest(secret.encode(), "\n".join(map(str, parts)).encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def matches(signature: str, secrets: Sequence[str], *parts: object) -> bool:
    """Constant in time for each secret; several may be valid while keys rotate, the first one signs.

    Compared as text: the last character of base64 has spare bits, and a link altered there is altered all the same.
    """
    given = signature.encode("utf-8", "replace")
    return any(hmac.compare_digest(make(secret, *parts).encode(), given) for secret in secrets)
