"""Tenants as the API shows them."""

from uuid import UUID

from pydantic import BaseModel

from services.gateway.tenants.models import Membership, Role


class TenantOut(BaseModel):
    id: UUID
    slug: str
    name: str
    role: Role

    @classmethod
    def of(cls, membership: Membership) -> "TenantOut":
        return cls(id=membership.tenant_id, slug=membership.slug, name=membership.name, role=membership.role)


class TenantFacts(BaseModel):
    """For sister services only."""

    slug: str
    name: str
    owner_email: str
    timezone: str
