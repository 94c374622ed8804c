from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.errors import ProjectNotFound
from services.usage.history.repository import HistoryRepository
from services.usage.history.rules import flows
from services.usage.months import Month, timezone_of
from services.usage.traffic.repository import ProjectRepository
from services.usage.traffic.rules import fold, parts, total
from services.usage.traffic.snapshot import NONE, ProjectAt, ProjectMonth, Stored
from shared.clock import Clock
from shared.db import Database
from shared.events import TrafficRecorded
from shared.kafka import Record


class TrafficService:
    """Adds up what gateways have counted, in the caller's transaction."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        """New records only: what is added twice is counted twice."""
        events = [record.event for record in records if isinstance(record.event, TrafficRecorded)]
        if events:
            zones = await timezone_of(connection, {event.tenant_id for event in events})
            await ProjectRepository(connection).add_traffic(fold(events, zones), self._clock.now())
            await HistoryRepository(connection).add_traffic(flows(events, zones))

    async def replay(self, connection: Any, records: Sequence[Record]) -> None:
        await self.apply(connection, records)

    def on_committed(self, records: Sequence[Record]) -> None:
        """Nobody waits for it."""

    on_replayed = on_committed


@dataclass(frozen=True, slots=True)
class ProjectList:
    """`items` sum to `total`, after ledger entry `position`."""

    month: Month
    items: list[ProjectMonth]
    total: ProjectMonth
    position: int
    as_of: datetime


class ProjectReader:
    """Months of projects. `month` None is the one that runs, where the tenant is."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def list_all(self, tenant: UUID, month: Month | None) -> ProjectList:
        async with self._database.transaction(tenant) as connection:
            return await self._list(connection, tenant, month)

    async def get(self, tenant: UUID, project: UUID, month: Month | None) -> ProjectAt:
        """Raises ProjectNotFound for one that never had a file or traffic, whoever's it is."""
        async with self._database.transaction(tenant) as connection:
            if project == NONE or not await ProjectRepository(connection).knows(tenant, project):
                raise ProjectNotFound
            listed = await self._list(connection, tenant, month)
        found = next((part for part in listed.items if part.project_id == project), None)
        if found is None:
            stored = None if listed.total.stored is None else Stored()
            found = ProjectMonth(project_id=project, year=listed.month.year, month=listed.month.month, stored=stored)
        return ProjectAt(**found.model_dump(), position=listed.position, as_of=listed.as_of)

    async def _list(self, connection: Any, tenant: UUID, asked: Month | None) -> ProjectList:
        zone = (await timezone_of(connection, [tenant]))[tenant]
        runs = Month.of(self._clock.now(), zone)
        month = asked or runs
        found = await ProjectRepository(connection).find(tenant, month)
        items = parts(found, month, current=month == runs)
        whole = total(items, month, current=month == runs)
        return ProjectList(month, items, whole, found.position, found.as_of)
