"""People and their profiles, as they come out of the database."""

from dataclasses import dataclass
from uuid import UUID

from services.gateway.tenants.models import Membership


@dataclass(frozen=True, slots=True)
class Account:
    """A person with profile and tenants: all that a request may ask about its caller."""

    id: UUID
    email: str
    name: str
    locale: str
    is_admin: bool
    memberships: tuple[Membership, ...] = ()
