"""What a tenant is entitled to, as far as usage needs it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from shared.events import Entitlements

STORAGE = "storage_bytes"
OTHERS = ("traffic_bytes_month", "images_month", "teams", "members", "projects")  # countable, by their names in a plan


@dataclass(frozen=True, slots=True)
class Terms:
    """`limit` of storage in bytes, `limits` of the rest by name; None is unlimited. Version 0 means that billing has
    not been heard yet. `limits` None: heard when nobody asked for more than storage.
    """

    version: int = 0
    plan: str | None = None
    limit: int | None = None
    limits: Mapping[str, int | None] | None = field(default_factory=dict)

    @classmethod
    def of(cls, version: int, plan: str, granted: Entitlements) -> Self:
        return cls(version, plan, granted.storage_bytes, {name: getattr(granted, name) for name in OTHERS})

    @property
    def known(self) -> bool:
        return self.version > 0 and self.limits is not None

    def limit_of(self, name: str | None) -> int | None:
        """None: unlimited, or nothing that plans have."""
        if name == STORAGE:
            return self.limit
        return None if name is None or self.limits is None else self.limits.get(name)


UNKNOWN = Terms()


def newer(held: Terms, offered: Terms) -> Terms:
    """An older version never replaces a newer one, whichever way it came."""
    fuller = held.limits is None and offered.version == held.version
    return offered if offered.version > held.version or fuller else held
