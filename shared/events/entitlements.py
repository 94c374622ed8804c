"""`entitlements.v1` (compacted): what a tenant may use. Written by `billing`; an older never replaces a newer."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from shared.events.base import Event

Isolation = Literal["shared", "schema"]


class Entitlements(BaseModel):
    """Limits of a plan; None is unlimited. Bytes are bytes, `cpu` counts cores."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # one that is sold later is no error here

    storage_bytes: int | None
    traffic_bytes_month: int | None
    images_month: int | None
    teams: int | None
    members: int | None
    projects: int | None
    cpu: float | None
    memory_bytes: int | None
    custom_domains: bool
    max_file_bytes: int | None
    # Bodies from before these were sold do not have them.
    allowed_types: tuple[str, ...] | None = None  # media types, `image/*` for a family; None allows all
    trash_days: int = 0  # a deleted file is kept and counted so long
    isolation: Isolation = "shared"  # where usage keeps the tenant's storage management


class EntitlementsChanged(Event):
    type: ClassVar[str] = "entitlements.changed"
    topic: ClassVar[str] = "entitlements.v1"

    version: int
    plan: str
    plan_version: int
    entitlements: Entitlements
