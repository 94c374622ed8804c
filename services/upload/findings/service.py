"""What staff may read of it."""

from typing import Any

from services.upload.findings import repository
from services.upload.findings.models import Finding, Kind
from shared.db import Database
from shared.http import read_position


class FindingReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_newest(
        self, limit: int, cursor: list[Any] | None, kind: Kind | None, *, is_open: bool | None
    ) -> list[Finding]:
        """Of all tenants. `is_open`: those that are still so, or those that are not. Raises DomainError for a cursor of
        another list.
        """
        after = read_position(cursor)
        async with self._database.transaction() as connection:
            return await repository.list_newest(connection, limit, after, kind, is_open=is_open)
