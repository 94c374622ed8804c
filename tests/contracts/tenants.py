"""A tenant of `upload` whose files come, change and go at random."""

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

from services.upload.quota.changes import Change, Result
from services.upload.quota.rules import Alter, Delete, Settle
from services.upload.quota.writer import AccountWriter
from shared.events import decode
from shared.kafka import Record
from tests.fixtures.postgres import query
from tests.shared.kafka.samples import stored

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CATEGORIES = ("documents", "properties", "avatars")
PROJECTS = (None, UUID(int=1), UUID(int=2))
PEOPLE = (None, UUID(int=3), UUID(int=4))
MONTHS = (None, None, date(2025, 12, 1), date(2026, 1, 1))  # images of the one that ends and of the one that begins


@dataclass
class Tenant:
    """A tenant that keeps three versions, driven at random."""

    writer: AccountWriter
    chance: random.Random
    id: UUID = field(default_factory=uuid4)
    files: list[UUID] = field(default_factory=list)
    trash: list[UUID] = field(default_factory=list)
    month: random.Random = field(default_factory=lambda: random.Random(12))

    async def step(self) -> Result:
        what = self.chance.choice(["store", "store", "replace", "replace", "move", "trash", "restore", "delete"])
        if what == "restore" and self.trash:
            return await self._restore()
        if what == "store" or not self.files:
            return await self._store(None)
        file = self.chance.choice(self.files)
        if what == "replace":
            return await self._store(file)
        if what == "move":
            values = {"category": self.chance.choice(CATEGORIES), "project_id": self.chance.choice(PROJECTS)}
            return await self._submit(Change(Alter(file), values=values))
        return await (self._trash(file) if what == "trash" else self._delete(file))

    async def _store(self, replaces: UUID | None) -> Result:
        size, category = self.chance.randrange(100), self.chance.choice(CATEGORIES)
        file = stored(self.id, size).model_copy(
            update={
                "category": category,
                "project_id": self.chance.choice(PROJECTS),
                "uploaded_by": self.chance.choice(PEOPLE),
            }
        )
        if replaces is None:
            self.files.append(file.file_id)
        return await self._submit(
            Change(Settle(file.file_id, size, month=self.month.choice(MONTHS)), file=file, replaces=replaces)
        )

    async def store_image(self, month: date) -> Result:
        file = stored(self.id, 1)
        self.files.append(file.file_id)
        return await self._submit(Change(Settle(file.file_id, 1, month=month), file=file))

    async def _trash(self, file: UUID) -> Result:
        self.files.remove(file)
        self.trash.append(file)
        return await self._submit(Change(Alter(file), trash=NOW + timedelta(days=30)))

    async def _restore(self) -> Result:
        file = self.trash.pop()
        self.files.append(file)
        return await self._submit(Change(Alter(file)))

    async def _delete(self, file: UUID) -> Result:
        self.files.remove(file)
        return await self._submit(Change(Delete(file, 0)))

    async def _submit(self, change: Change) -> Result:
        return await self.writer.submit(self.id, change)


async def records_of(dsn: str, tenant: UUID) -> list[Record]:
    """Its ledger, as the consumer gets it."""
    sql = "SELECT * FROM storage_transaction WHERE tenant_id = $1 ORDER BY seq"
    return [
        Record(
            "files.v1",
            tenant,
            row["seq"],
            row["type"],
            row["body"].encode(),
            {"ce_time": row["occurred_at"].isoformat().encode()},
            None,
            event=decode(row["type"], row["body"]),
        )
        for row in await query(dsn, sql, tenant)
    ]
