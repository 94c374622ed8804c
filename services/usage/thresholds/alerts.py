from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.thresholds.repository import ThresholdRepository
from services.usage.thresholds.schemas import AlertOut
from shared.db import Database
from shared.errors import DomainError
from shared.http import Page, PageRequest, encode_cursor


class AlertReader:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_alerts(self, tenant: UUID, page: PageRequest) -> Page[AlertOut]:
        """Newest first."""
        before = None if page.cursor is None else _key(page.cursor)
        async with self._database.transaction(tenant) as connection:
            rows = await ThresholdRepository(connection).list_alerts(tenant, before, page.limit + 1)
        items = [AlertOut.model_validate(dict(row)) for row in rows[: page.limit]]
        more = len(rows) > page.limit
        last = items[-1] if more else None
        return Page(items=items, next_cursor=last and encode_cursor(last.at, last.percent, last.id))


def _key(cursor: list[Any]) -> tuple[datetime, int, UUID]:
    try:
        at, percent, alert = cursor
        return datetime.fromisoformat(at), int(percent), UUID(alert)
    except (ValueError, TypeError, AttributeError) as error:
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.") from error
