"""Tenants as the API shows them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.gateway.tenants.models import Membership, Role


class TenantOut(BaseModel):
    id: UUID
    slug: str
    name: str
    role: Role

    @classmethod
    def of(cls, membership: Membership) -> "TenantOut":
        return cls(id=membership.tenant_id, slug=membership.slug, name=membership.name, role=membership.role)


class TenantIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=400)
    timezone: str = Field(default="UTC", max_length=64)
    locale: str | None = Field(default=None, max_length=20)


class TenantChangeIn(BaseModel):
    """What is missing stays as it is, and so does the address."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, max_length=400)
    timezone: str | None = Field(default=None, max_length=64)
    locale: str | None = Field(default=None, max_length=20)


class TenantDetailOut(BaseModel):
    """`timezone` by its IANA name: months of usage and of the plan begin there. All of one moment."""

    id: UUID
    slug: str
    name: str
    timezone: str
    locale: str
    members: int
    projects: int
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> "TenantDetailOut":
        return cls(**{name: row[name] for name in cls.model_fields})


class TenantFacts(BaseModel):
    """For sister services only."""

    slug: str
    name: str
    owner_email: str
    timezone: str
