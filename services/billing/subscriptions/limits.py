"""What the platform that runs a team's projects may give them. Pure."""

from dataclasses import dataclass

from shared.events import Entitlements


@dataclass(frozen=True, slots=True)
class Needs:
    """Of all projects of the team together; None: not asked about."""

    cpu: float | None = None  # cores
    memory_bytes: int | None = None
    custom_domains: int | None = None  # how many


@dataclass(frozen=True, slots=True)
class Excess:
    """`what` is the entitlement; `limit` None where the plan has none of it."""

    what: str
    asked: float
    limit: float | None


def excess(needs: Needs, allowed: Entitlements) -> Excess | None:
    """The first that is above the plan."""
    if needs.cpu is not None and allowed.cpu is not None and needs.cpu > allowed.cpu:
        return Excess("cpu", needs.cpu, allowed.cpu)
    memory = needs.memory_bytes
    if memory is not None and allowed.memory_bytes is not None and memory > allowed.memory_bytes:
        return Excess("memory", memory, allowed.memory_bytes)
    if needs.custom_domains and not allowed.custom_domains:
        return Excess("custom_domains", needs.custom_domains, None)
    return None
