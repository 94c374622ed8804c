"""What a tenant is entitled to, as far as usage needs it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """`limit` in bytes, None is unlimited; version 0 means that billing has not been heard yet."""

    version: int = 0
    plan: str | None = None
    limit: int | None = None

    @property
    def known(self) -> bool:
        return self.version > 0


UNKNOWN = Terms()


def newer(held: Terms, offered: Terms) -> Terms:
    """An older version never replaces a newer one, whichever way it came."""
    return offered if offered.version > held.version else held
