"""How many images a tenant may still take this month, and the codes that say so (S2.3). Pure."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

Code = Literal[
    "IMAGE_QUOTA_NO_PLAN",
    "IMAGE_QUOTA_PLAN_NOT_ALLOWED",
    "IMAGE_QUOTA_EXCEEDED",
    "IMAGE_QUOTA_CHECK_ERROR",
    "IMAGE_QUOTA_REMAINING",
    "IMAGE_QUOTA_UNLIMITED",
]

DETAILS: dict[Code, str] = {
    "IMAGE_QUOTA_NO_PLAN": "There is no plan, so no image can be stored.",
    "IMAGE_QUOTA_PLAN_NOT_ALLOWED": "The plan has no images.",
    "IMAGE_QUOTA_EXCEEDED": "All images of this month are used.",
    "IMAGE_QUOTA_CHECK_ERROR": "How many images are left is not known just now; try again.",
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """Images of one month; `limit` None is unlimited. `used` has those under way in it: it is what cannot be used.
    `bought` of them are above the limit, for credits.
    """

    plan: str
    limit: int | None
    used: int
    bought: int = 0

    @property
    def remaining(self) -> int | None:
        return None if self.limit is None else max(0, self.limit + self.bought - self.used)

    @property
    def allowed(self) -> bool:
        return self.remaining != 0

    @property
    def code(self) -> Code:
        if self.limit is None:
            return "IMAGE_QUOTA_UNLIMITED"
        if self.limit == 0:
            return "IMAGE_QUOTA_PLAN_NOT_ALLOWED"
        return "IMAGE_QUOTA_REMAINING" if self.allowed else "IMAGE_QUOTA_EXCEEDED"


class ZoneUnknown(LookupError):
    """No month without a time zone."""


def month_of(now: datetime, timezone: str) -> date:
    """First day of the month it is there. Raises ZoneUnknown."""
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise ZoneUnknown(timezone) from None
    return now.astimezone(zone).date().replace(day=1)
