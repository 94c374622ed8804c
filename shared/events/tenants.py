"""`tenants.v1` (compacted): each record is the tenant's whole state and, by its type, what has just changed. The newest
wins, whatever its type.
"""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.events.base import Event

MemberRole = Literal["owner", "admin", "member"]


class TenantEvent(Event):
    """`members` counts its people, the owner among them; `projects` those that are there."""

    topic: ClassVar[str] = "tenants.v1"

    slug: str
    name: str
    owner_id: UUID
    owner_email: str
    timezone: str  # IANA name, "UTC" unless chosen
    locale: str
    # Bodies from before there were any others do not have them.
    members: Annotated[int, Field(ge=0)] = 1
    projects: Annotated[int, Field(ge=0)] = 0


class TenantCreated(TenantEvent):
    type: ClassVar[str] = "tenant.created"


class TenantUpdated(TenantEvent):
    type: ClassVar[str] = "tenant.updated"


class TenantDeleted(TenantEvent):
    type: ClassVar[str] = "tenant.deleted"


class MemberEvent(TenantEvent):
    user_id: UUID
    role: MemberRole


class MemberAdded(MemberEvent):
    type: ClassVar[str] = "member.added"


class MemberChanged(MemberEvent):
    """Has another role now."""

    type: ClassVar[str] = "member.changed"


class MemberRemoved(MemberEvent):
    """`role` is the one they had."""

    type: ClassVar[str] = "member.removed"


class ProjectEvent(TenantEvent):
    project_id: UUID
    project_name: str


class ProjectCreated(ProjectEvent):
    type: ClassVar[str] = "project.created"


class ProjectDeleted(ProjectEvent):
    type: ClassVar[str] = "project.deleted"
