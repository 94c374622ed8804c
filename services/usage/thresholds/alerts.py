from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.thresholds.repository import ThresholdRepository
from services.usage.thresholds.schemas import AlertOut, AlertsOut
from shared.db import Database
from shared.errors import DomainError
from shared.events import Metric
from shared.http import PageRequest, encode_cursor


class AlertReader:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_alerts(self, tenant: UUID, page: PageRequest, metric: Metric | None = None) -> AlertsOut:
        """Newest first."""
        before = None if page.cursor is None else _key(page.cursor)
        async with self._database.transaction(tenant) as connection:
            found = await ThresholdRepository(connection).list_alerts(tenant, before, page.limit + 1, metric)
        rows = found["items"]
        items = [AlertOut.of(row) for row in rows[: page.limit]]
        last = rows[page.limit - 1] if len(rows) > page.limit else None
        cursor = last and encode_cursor(last["at"], last["value"], last["id"])
        return AlertsOut(items=items, next_cursor=cursor, position=found["position"], as_of=found["as_of"])


def _key(cursor: list[Any]) -> tuple[datetime, int, UUID]:
    try:
        at, value, alert = cursor
        return datetime.fromisoformat(at), int(value), UUID(alert)
    except (ValueError, TypeError, AttributeError) as error:
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.") from error
