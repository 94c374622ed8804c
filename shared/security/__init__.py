"""Who is asking, and the signatures that say so."""

from shared.security.internal import InvalidToken, sign, verify
from shared.security.principal import Principal

__all__ = ["InvalidToken", "Principal", "sign", "verify"]
