"""Access tokens: signed by this service alone, checked by anybody with the published key."""

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from services.gateway.errors import Unauthorized
from shared.clock import Clock

LIFE = timedelta(minutes=15)
AUDIENCE = "stowage"


@dataclass(frozen=True, slots=True)
class Claims:
    user_id: UUID
    session_id: UUID
    expires_at: datetime


class AccessTokens:
    """Issues and verifies EdDSA tokens. `issuer` is the public address of the installation."""

    def __init__(self, key: Ed25519PrivateKey, issuer: str, clock: Clock) -> None:
        self._key = key
        self._public = key.public_key()
        self._issuer = issuer
        self._clock = clock
        raw = self._public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._jwk = {"crv": "Ed25519", "kty": "OKP", "x": urlsafe_b64encode(raw).decode().rstrip("=")}
        thumbprint = hashlib.sha256(json.dumps(self._jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
        self._kid = urlsafe_b64encode(thumbprint).decode().rstrip("=")  # RFC 7638

    @classmethod
    def load(cls, file: Path, issuer: str, clock: Clock) -> "AccessTokens":
        """Raises OSError or ValueError when the file is no Ed25519 key."""
        key = load_pem_private_key(file.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{file} holds no Ed25519 private key")
        return cls(key, issuer, clock)

    def issue(self, user: UUID, session: UUID) -> str:
        now = self._clock.now()
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": str(user),
            "sid": str(session),
            "iat": int(now.timestamp()),
            "exp": int((now + LIFE).timestamp()),
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self._kid})

    def verify(self, token: str) -> Claims:
        """Raises Unauthorized."""
        try:
            found = jwt.decode(
                token,
                self._public,
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=self._issuer,
                # Time is judged below, by the same clock that issues.
                options={"require": ["exp", "sub", "sid"], "verify_exp": False, "verify_iat": False},
            )
            claims = Claims(UUID(found["sub"]), UUID(found["sid"]), datetime.fromtimestamp(found["exp"], UTC))
        except (jwt.InvalidTokenError, ValueError, TypeError):
            raise Unauthorized("The access token is not valid.") from None
        if claims.expires_at <= self._clock.now():
            raise Unauthorized("The access token has expired.")
        return claims

    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**self._jwk, "kid": self._kid, "use": "sig", "alg": "EdDSA"}]}
