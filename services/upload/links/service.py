"""Links that carry their own permission: whoever has one may read one file until it expires."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.upload.errors import LinkRefused
from shared.clock import Clock
from shared.security import signatures


@dataclass(frozen=True, slots=True)
class Link:
    url: str
    expires_at: datetime


class LinkService:
    """`secrets`: the first signs, all of them are believed."""

    def __init__(self, base_url: str, secrets: list[str], clock: Clock) -> None:
        self._base = base_url.rstrip("/")
        self._secrets = secrets
        self._clock = clock

    def make(self, tenant: UUID, file_id: UUID, expires_in: int) -> Link:
        until = self._clock.now() + timedelta(seconds=expires_in)
        expires = int(until.timestamp())
        signature = signatures.make(self._secrets[0], "read", tenant, file_id, expires)
        # Tracing hides what goes by the name of `sig`: who may look at traces may not therefore look at files.
        path = f"/api/storage/signed/{tenant}/{file_id}?expires={expires}&sig={signature}"
        return Link(self._base + path, datetime.fromtimestamp(expires, UTC))

    def check(self, tenant: UUID, file_id: UUID, expires: int, signature: str) -> None:
        """Raises LinkRefused. The signature first: only who holds a real link may learn that it has expired."""
        if not signatures.matches(signature, self._secrets, "read", tenant, file_id, expires):
            raise LinkRefused("link_invalid")
        if self._clock.now().timestamp() >= expires:
            raise LinkRefused("link_expired")
