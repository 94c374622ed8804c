"""How near to its limit a metric is. Pure."""

from typing import Literal

Status = Literal["ok", "warning", "critical", "full", "unlimited"]

WARNING, CRITICAL = 80, 95  # percent (S4.3)


def status_of(used: int, limit: int | None) -> Status:
    """Whole numbers: 79.999 % is not yet a warning."""
    if limit is None:
        return "unlimited"
    if used >= limit:
        return "full"
    if used * 100 >= limit * CRITICAL:
        return "critical"
    return "warning" if used * 100 >= limit * WARNING else "ok"


def remaining(used: int, limit: int | None) -> int | None:
    return None if limit is None else max(0, limit - used)
