"""Who is asking."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

Role = Literal["owner", "admin", "member"]
Kind = Literal["user", "anonymous", "service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person acting for a tenant, nobody in particular, or a sister service. `issuer` is who vouches for it."""

    kind: Kind = "anonymous"
    user_id: UUID | None = None
    tenant_id: UUID | None = None
    tenant_slug: str | None = None
    role: Role | None = None
    is_admin: bool = False
    email: str | None = None
    name: str | None = None
    issuer: str = ""

    @property
    def manages(self) -> bool:
        """May change plan, members and settings of its tenant."""
        return self.role in {"owner", "admin"}
