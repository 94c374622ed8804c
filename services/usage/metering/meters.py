"""What is metered: one row a metric, and everything else walks over them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal

from services.usage.entitlements.rules import STORAGE
from services.usage.figures.figure import Told
from services.usage.months import Month
from services.usage.thresholds.rules import DEFAULTS, Scale, Threshold
from shared.events import EVENTS, CreditsChanged, Event, Metric, TenantDeleted, TenantEvent, TrafficBought

Unit = Literal["bytes", "images", "requests", "members", "projects", "credits"]

AHEAD = timedelta(days=1)  # what a clock may be wrong by: a month further ahead does not begin


@dataclass(frozen=True, slots=True)
class Meter:
    """`limit` names the plan's entitlement, None: no plan limits it. `months`: columns of `tenant_month` that sum to
    what is used; it begins from nothing with each month of the tenant. `bought`: the column of what the month's limit
    was raised by. `told`: an event says outright how much it is. `least`: what every tenant has; a share of the limit
    is not reached by that alone.
    """

    metric: Metric
    unit: Unit
    limit: str | None = None
    months: tuple[str, ...] = ()
    bought: str | None = None
    told: Told | None = None
    least: int = 0

    @property
    def monthly(self) -> bool:
        return bool(self.months) or (self.told is not None and self.told.month is not None)

    @property
    def limited(self) -> bool:
        """By a plan, or by what is told to remain."""
        return self.limit is not None or (self.told is not None and self.told.remaining is not None)

    @property
    def usual(self) -> tuple[Threshold, ...]:
        """What it is judged by until a tenant chooses: nothing where there is no limit to have percents of."""
        return DEFAULTS if self.limited else ()

    def scale(self, slack: int = 0, chosen: tuple[Threshold, ...] | None = None) -> Scale:
        """By the usual thresholds unless others are chosen."""
        return Scale(self.usual if chosen is None else chosen, slack, self.least)

    def reset_at(self, now: datetime, zone: tzinfo) -> datetime | None:
        """When it begins from nothing again, in UTC; None: never."""
        return Month.of(now, zone).next.begins(zone) if self.monthly else None


_ROWS = (
    Meter("storage", "bytes", STORAGE),  # files.v1, in tenant_usage
    Meter("traffic", "bytes", "traffic_bytes_month", ("traffic_in", "traffic_out"), "traffic_bought"),  # traffic.v1
    Meter("images", "images", "images_month", ("images",)),  # files.v1
    Meter("requests", "requests", None, ("requests",)),  # traffic.v1
    Meter("disk", "bytes"),  # the Docker Engine, in disk_usage
    # Whatever else an event tells the number of is one row more, in tenant_figure.
    Meter("members", "members", "members", told=Told(TenantEvent, "members"), least=1),  # tenants.v1
    Meter("projects", "projects", "projects", told=Told(TenantEvent, "projects")),  # tenants.v1
    Meter("credits", "credits", told=Told(CreditsChanged, "spent_month", "balance", "month")),  # billing.v1
)

METERS: Mapping[Metric, Meter] = {meter.metric: meter for meter in _ROWS}
MONTHLY = tuple(meter for meter in _ROWS if meter.months)
FIGURES = tuple(meter for meter in _ROWS if meter.told is not None)


def _told_by(event: type[Event]) -> tuple[tuple[Meter, Told], ...]:
    # Of a tenant that is gone nobody needs to hear any more.
    if event is TenantDeleted:
        return ()
    return tuple((meter, meter.told) for meter in FIGURES if meter.told and issubclass(event, meter.told.event))


TELLING: Mapping[type, tuple[tuple[Meter, Told], ...]] = {
    event: told for event in EVENTS.values() if (told := _told_by(event))
} | {TrafficBought: ()}  # no figure, but a limit to be counted by
