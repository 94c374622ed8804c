"""Tenants and who belongs to them, as they come out of the database."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

Role = Literal["owner", "admin", "member"]


@dataclass(frozen=True, slots=True)
class Tenant:
    id: UUID
    slug: str
    name: str
    owner_id: UUID
    timezone: str  # IANA name
    locale: str


@dataclass(frozen=True, slots=True)
class Membership:
    """One tenant somebody belongs to."""

    tenant_id: UUID
    slug: str
    name: str
    role: Role
