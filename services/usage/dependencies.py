"""What a route may ask for, built once in `main.py`."""

from dataclasses import dataclass
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Request

from services.usage.counters.reader import CounterReader
from services.usage.disk.service import DiskService
from services.usage.forecast.service import ForecastService
from services.usage.history.reader import HistoryReader
from services.usage.limits.service import LimitService
from services.usage.live.service import LiveUsage
from services.usage.management.reader import ManagementReader
from services.usage.past.service import PastService
from services.usage.proof.service import ProofService
from services.usage.rebuild.recalculation import Recalculation
from services.usage.stats.service import StatsService
from services.usage.tenants.service import IsolationService
from services.usage.thresholds.alerts import AlertReader
from services.usage.thresholds.choice import ThresholdChoices
from services.usage.traffic.service import ProjectReader
from services.usage.trends.reader import TrendReader
from services.usage.users.service import UserReader
from shared.http import CurrentTenant


@dataclass(frozen=True, slots=True)
class UsageServices:
    reader: CounterReader
    alerts: AlertReader
    live: LiveUsage
    proof: ProofService
    past: PastService
    choices: ThresholdChoices
    limits: LimitService
    disk: DiskService
    management: ManagementReader
    isolation: IsolationService
    projects: ProjectReader
    recalculation: Recalculation
    history: HistoryReader
    forecast: ForecastService
    trends: TrendReader
    users: UserReader
    stats: StatsService


async def _services(request: Request) -> UsageServices:
    return cast("UsageServices", request.app.state.services)


async def _tenant(principal: CurrentTenant) -> UUID:
    return cast("UUID", principal.tenant_id)  # CurrentTenant has refused everybody without one


Tenant = Annotated[UUID, Depends(_tenant)]
Usage = Annotated[UsageServices, Depends(_services)]
