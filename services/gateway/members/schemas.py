"""People of a tenant, as the API shows them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.gateway.tenants.models import Role

Given = Literal["admin", "member"]  # nobody becomes owner by being added


class MemberIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: str = Field(max_length=320)
    role: Given = "member"


class RoleIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Given


class MemberOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    email: str
    name: str
    role: Role
    added_at: datetime
