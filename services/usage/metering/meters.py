"""What is metered: one row a metric, and everything else walks over them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from services.usage.entitlements.rules import STORAGE
from services.usage.months import Month
from services.usage.thresholds.rules import DEFAULTS, Threshold
from shared.events import Metric

Unit = Literal["bytes", "images", "requests"]


@dataclass(frozen=True, slots=True)
class Meter:
    """`limit` names the plan's entitlement, None: no plan limits it. `months`: columns of `tenant_month` that sum to
    what is used; it begins from nothing with each month of the tenant.
    """

    metric: Metric
    unit: Unit
    limit: str | None = None
    months: tuple[str, ...] = ()

    @property
    def monthly(self) -> bool:
        return bool(self.months)

    @property
    def usual(self) -> tuple[Threshold, ...]:
        """What it is judged by until a tenant chooses: nothing where there is no limit to have percents of."""
        return DEFAULTS if self.limit is not None else ()

    def reset_at(self, now: datetime, zone: tzinfo) -> datetime | None:
        """When it begins from nothing again, in UTC; None: never."""
        return Month.of(now, zone).next.begins(zone) if self.monthly else None


# Members, projects and credits would be rows like these, once an event tells usage how many there are.
_ROWS = (
    Meter("storage", "bytes", STORAGE),  # files.v1, in tenant_usage
    Meter("traffic", "bytes", "traffic_bytes_month", ("traffic_in", "traffic_out")),  # traffic.v1
    Meter("images", "images", "images_month", ("images",)),  # files.v1
    Meter("requests", "requests", None, ("requests",)),  # traffic.v1
    Meter("disk", "bytes"),  # the Docker Engine, in disk_usage
)

METERS: Mapping[Metric, Meter] = {meter.metric: meter for meter in _ROWS}
MONTHLY = tuple(meter for meter in _ROWS if meter.monthly)
