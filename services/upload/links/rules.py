"""Ids and signatures of links. Pure but for chance.

A link of `/url` has no row, and yet can be revoked by its id: half of the id is chance, half says whose it is.
"""

import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.security import signatures

_VERSION = 0x8 << 76 | 0b10 << 62  # of RFC 9562: "custom"
_SPARE = 0xF << 76 | 0b11 << 62
_TAG = (1 << 62) - 1


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a link's address says and its signature holds together. `expires` in seconds since the epoch."""

    tenant: UUID
    file: UUID
    link: UUID
    expires: int

    @property
    def kept(self) -> bool:
        """It has a row from the beginning, and is nothing without it."""
        return self.link.int & _SPARE != _VERSION

    def path(self, secret: str) -> str:
        # Tracing hides what goes by the name of `sig`: who may look at traces may not therefore look at files.
        query = f"link={self.link}&expires={self.expires}&sig={signatures.make(secret, *self._signed)}"
        return f"/api/storage/signed/{self.tenant}/{self.file}?{query}"

    def matches(self, signature: str, secrets: Sequence[str]) -> bool:
        return signatures.matches(signature, secrets, *self._signed)

    @property
    def _signed(self) -> tuple[object, ...]:
        return "read", self.tenant, self.file, self.link, self.expires


def new_rowless(secret: str, tenant: UUID) -> UUID:
    """The id of a link without a row."""
    return _complete(int.from_bytes(os.urandom(8)) << 64, secret, tenant)


def is_rowless(link: UUID, secrets: Sequence[str], tenant: UUID) -> bool:
    """Whether it is one of that tenant's. Nobody else can make one up."""
    return any(link == _complete(link.int, secret, tenant) for secret in secrets)


def _complete(chance: int, secret: str, tenant: UUID) -> UUID:
    value = chance >> 64 << 64 & ~_SPARE | _VERSION
    tag = hmac.digest(secret.encode(), f"link\n{tenant}\n{value}".encode(), "sha256")
    return UUID(int=value | int.from_bytes(tag[:8]) & _TAG)
