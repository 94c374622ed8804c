"""Time zones by their IANA names."""

import logging
from zoneinfo import ZoneInfo

log = logging.getLogger(__name__)


def known_zone(name: str) -> str:
    """The name, or UTC: a zone that this machine's tables do not have would break every month of a tenant."""
    try:
        return ZoneInfo(name).key
    except (LookupError, ValueError, OSError):
        log.warning("time zone %r is not known here: UTC is taken", name)
        return "UTC"
