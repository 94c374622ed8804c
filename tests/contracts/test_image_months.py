"""An image counts in `usage` exactly where, when and as often as it does in `upload` (S2.2)."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.upload.ledger.folds import LedgerFolds
from services.upload.quota.changes import Change, Result
from services.upload.quota.rules import Alter, Delete, Release, Reserve, Settle
from services.upload.quota.writer import AccountWriter
from services.usage.counters.service import CounterService
from services.usage.rebuild.service import Rebuilder
from services.usage.thresholds.service import ThresholdService
from shared.clock import FixedClock
from shared.db import Database
from shared.events import decode
from shared.kafka import Record
from tests.contracts.test_rebuild import Direct
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.shared.kafka.samples import stored

NOVEMBER, DECEMBER = date(2026, 11, 1), date(2026, 12, 1)
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
LIMIT = 20


@dataclass
class Photographer:
    """A tenant with a limit, that keeps versions, driven at random over the end of a month."""

    writer: AccountWriter
    chance: random.Random
    id: UUID = field(default_factory=uuid4)
    files: list[UUID] = field(default_factory=list)

    async def step(self, month: date) -> None:
        what = self.chance.choice(["image", "image", "image", "late", "lost", "given up", "file", "replace", "delete"])
        if what == "delete" and self.files:
            file = self.files.pop(self.chance.randrange(len(self.files)))
            change = Change(Delete(file, 0)) if self.chance.random() < 0.5 else Change(Alter(file), trash=NOW)
            await self.writer.submit(self.id, change)
        elif what == "replace" and self.files:
            await self.store(month, replaces=self.chance.choice(self.files))
        elif what == "file":
            await self.store(None)
        elif what == "given up":
            upload = uuid4()
            await self.reserve(upload, month)
            await self.writer.submit(self.id, Change(Release(upload)))
        elif what == "lost":  # its reservation has expired when it ends
            await self.store(month)
        else:
            upload = uuid4()
            await self.reserve(upload, month)
            await self.store(DECEMBER if what == "late" else month, upload)

    async def reserve(self, upload: UUID, month: date) -> None:
        await self.writer.submit(self.id, Change(Reserve(upload, 5, month), lifetime=timedelta(hours=1)))

    async def store(self, month: date | None, upload: UUID | None = None, *, replaces: UUID | None = None) -> Result:
        file = stored(self.id, 5)
        file = file.model_copy(update={"file_id": upload or file.file_id})
        change = Change(Settle(file.file_id, 5, month=month), file=file, replaces=replaces)
        done = await self.writer.submit(self.id, change)
        await self.writer.submit(self.id, change)  # finds it done
        if done.ok and replaces is None:
            self.files.append(file.file_id)
        return done


@dataclass(frozen=True)
class Both:
    upload: ServiceDatabase
    usage: ServiceDatabase
    tenant: Photographer

    async def written(self) -> list[Record]:
        rows = await query(
            self.upload.superuser, "SELECT * FROM storage_transaction WHERE tenant_id = $1 ORDER BY seq", self.tenant.id
        )
        return [
            Record(
                "files.v1",
                self.tenant.id,
                row["seq"],
                row["type"],
                row["body"].encode(),
                {"ce_time": row["occurred_at"].isoformat().encode()},
                None,
                event=decode(row["type"], row["body"]),
            )
            for row in rows
        ]

    async def consume(self, records: list[Record]) -> None:
        async with Database(self.usage.worker) as database, database.transaction() as connection:
            await CounterService(ThresholdService(), FixedClock(NOW)).apply(connection, records)

    async def differing(self) -> int:
        """Tenants whose counters are not what their ledger sums to."""
        async with Database(self.upload.app) as upload, Database(self.usage.worker) as usage:
            counters = CounterService(ThresholdService(), FixedClock(NOW))
            rebuilder = Rebuilder(usage, Direct(LedgerFolds(upload)), counters, FixedClock(NOW))
            return (await rebuilder.run(None, "test", repair=False)).done.differing

    async def counts(self) -> tuple[dict[date, int], dict[date, int]]:
        """By month, of upload and of usage."""
        theirs = await query(self.upload.superuser, "SELECT month, used FROM image_month WHERE used > 0")
        ours = await query(
            self.usage.superuser, "SELECT make_date(year, month, 1) AS month, images FROM tenant_month WHERE images > 0"
        )
        return {row["month"]: row["used"] for row in theirs}, {row["month"]: row["images"] for row in ours}


@pytest.fixture
async def both(pg: PostgresServer) -> AsyncIterator[Both]:
    upload, usage = pg.create("upload"), pg.create("usage")
    async with Database(upload.app) as database:
        tenant = Photographer(AccountWriter(database, on_commit=lambda: None), random.Random(6))
        await query(
            upload.superuser,
            "INSERT INTO tenant_storage (tenant_id, plan, entitlements_version, versions_kept, images_month) "
            "VALUES ($1, 'p', 1, 2, $2)",
            tenant.id,
            LIMIT,
        )
        yield Both(upload, usage, tenant)


async def test_the_same_images_in_the_same_months(both: Both) -> None:
    for n in range(140):
        await both.tenant.step(NOVEMBER if n < 60 else DECEMBER)
        if n % 35 == 34:  # and repeats in between
            await both.consume(await both.written())
            theirs, ours = await both.counts()
            assert theirs == ours
            assert await both.differing() == 0
    assert ours == {NOVEMBER: LIMIT, DECEMBER: LIMIT}, "as many as the plan has, although many were deleted since"


async def test_many_at_once(both: Both) -> None:
    await asyncio.gather(*(both.tenant.store(NOVEMBER) for _ in range(3 * LIMIT)))
    await both.consume(await both.written())
    assert await both.counts() == ({NOVEMBER: LIMIT}, {NOVEMBER: LIMIT})
    assert await both.differing() == 0
