"""What staff may read of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.upload.reconciliation import repository
from services.upload.reconciliation.schemas import ReconciliationOut
from shared.db import Database
from shared.http import read_position


@dataclass(frozen=True, slots=True)
class Kept:
    at: datetime
    id: UUID
    result: ReconciliationOut


class ReconciliationReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_newest(
        self, limit: int, cursor: list[Any] | None, tenant: UUID | None, *, differing: bool | None
    ) -> list[Kept]:
        """Of all tenants, or one. Raises DomainError for a cursor of another list."""
        after = read_position(cursor)
        async with self._database.transaction() as connection:
            rows = await repository.list_newest(connection, limit, after, tenant, differing=differing)
        return [Kept(row["at"], row["id"], ReconciliationOut.model_validate(row["result"])) for row in rows]
