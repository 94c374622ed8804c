"""Counters folded again from upload's ledger, by the real SQL of both services."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.upload.images.quota.rules import month_of
from services.upload.ledger.folds import LedgerFolds, Stretch
from services.upload.quota.writer import AccountWriter
from services.usage.counters.service import CounterService
from services.usage.errors import LedgerUnreachable
from services.usage.rebuild import __main__ as command
from services.usage.rebuild import repository, service
from services.usage.rebuild.filling import Filling
from services.usage.rebuild.nightly import REASON, NightlyComparison
from services.usage.rebuild.service import Outcome, Rebuilder
from services.usage.rebuild.shadow import Apart, Shadow
from services.usage.thresholds.service import ThresholdService
from shared.clock import FixedClock, SystemClock
from shared.db import Database
from shared.dead_letters.replayer import Replayer
from shared.kafka import Record
from tests.contracts.tenants import NOW, Tenant, records_of
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query

_LETTER = """
    INSERT INTO dead_letter (id, group_name, topic, partition, record_offset, tenant_id, seq, type, headers, value,
        error, left_out, replay_requested_at, replay_requested_by)
    VALUES (gen_random_uuid(), 'usage', 'files.v1', 0, 0, $1, $2, $3, $4::jsonb, $5, 'broke', true,
        CASE WHEN $6 THEN now() END, CASE WHEN $6 THEN 'me' END)
"""
_MONTH = """
    INSERT INTO tenant_month (tenant_id, year, month, images, updated_at)
    SELECT tenant_id, 2025, 11, 3, now() FROM tenant_usage
"""


class Direct:
    """Upload's answers without the HTTP between; `broken` answers end in the middle."""

    def __init__(self, folds: LedgerFolds) -> None:
        self._folds = folds
        self.asked: list[int | None] = []  # tenants asked for, None for all
        self.broken = False

    def all(self) -> AsyncIterator[bytes]:
        return self._answer(None)

    def between(self, tenants: Sequence[Apart]) -> AsyncIterator[bytes]:
        return self._answer([Stretch(a.tenant_id, min(a[1:]), max(a[1:])) for a in tenants])

    async def _answer(self, stretches: list[Stretch] | None) -> AsyncIterator[bytes]:
        self.asked.append(None if stretches is None else len(stretches))
        async for chunk in self._folds.csv(stretches):
            yield chunk
            if self.broken:
                raise LedgerUnreachable


@dataclass
class Pair:
    """Upload with tenants, and usage that has counted some of what they did."""

    upload: ServiceDatabase
    usage: ServiceDatabase
    worker: Database
    writer: AccountWriter
    folds: Direct
    tenants: list[Tenant] = field(default_factory=list)

    @property
    def counters(self) -> CounterService:
        return CounterService(ThresholdService(), FixedClock(NOW))

    def rebuilder(self) -> Rebuilder:
        return Rebuilder(self.worker, self.folds, self.counters, SystemClock())

    async def rebuild(self, tenant: UUID | None = None, *, repair: bool = True, resume: bool = False) -> Outcome:
        return await self.rebuilder().run(tenant, "test", repair=repair, resume=resume)

    async def tenant(self, steps: int, *, counted: int | None = None) -> UUID:
        """A tenant with so many entries, the first `counted` of them counted."""
        made = Tenant(self.writer, random.Random(len(self.tenants)))
        await query(
            self.upload.superuser,
            "INSERT INTO tenant_storage (tenant_id, plan, entitlements_version, versions_kept) VALUES ($1, 'p', 1, 3)",
            made.id,
        )
        self.tenants.append(made)
        for _ in range(steps):
            assert (await made.step()).ok
        records = await records_of(self.upload.superuser, made.id)
        await self.apply(records[:counted])
        return made.id

    async def apply(self, records: Sequence[Record]) -> None:
        async with self.worker.transaction() as connection:
            await self.counters.apply(connection, records)

    async def catch_up(self) -> None:
        for tenant in self.tenants:
            await self.apply(await records_of(self.upload.superuser, tenant.id))

    async def spoil(self, sql: str, *values: object) -> None:
        await query(self.usage.superuser, sql, *values)

    async def counted(self) -> list[dict[str, Any]]:
        """Everything that is a sum, of all tenants."""
        hidden = "trashed_bytes, trashed_files, version_bytes, version_files"
        tables = {
            "tenant_usage": f"bytes, files, {hidden}, position",
            "usage_breakdown WHERE file_count > 0": f"file_type, category, file_count, total_size, {hidden}",
            "project_storage WHERE files > 0": f"project_id, bytes, files, {hidden}",
            "user_usage WHERE files > 0": f"user_id, bytes, files, {hidden}",
            "tenant_month WHERE images > 0": "year, month, images",
        }
        found = [
            await query(self.usage.superuser, f"SELECT tenant_id, {columns} FROM {table} ORDER BY 1, 2, 3")
            for table, columns in tables.items()
        ]
        return [dict(row) for rows in found for row in rows]

    async def images(self, tenant: UUID) -> dict[date, int]:
        """By month, as they are counted."""
        sql = "SELECT make_date(year, month, 1) AS m, images FROM tenant_month WHERE tenant_id = $1 AND images > 0"
        return {row["m"]: row["images"] for row in await query(self.usage.superuser, sql, tenant)}

    async def letter(self, record: Record, *, asked: bool = False) -> None:
        body = record.body
        await self.spoil(_LETTER, record.tenant_id, record.seq, record.type, _headers(record), body, asked)

    async def letters(self) -> list[tuple[str, str]]:
        rows = await query(
            self.usage.superuser,
            "SELECT coalesce(resolution, '-') AS r, coalesce(resolved_by, '-') AS b FROM dead_letter",
        )
        return [(row["r"], row["b"]) for row in rows]


def _headers(record: Record) -> str:
    values = {name: value.decode() for name, value in record.headers.items()}
    return "{" + ", ".join(f'"{name}": "{value}"' for name, value in values.items()) + "}"


@pytest.fixture
async def pair(pg: PostgresServer) -> AsyncIterator[Pair]:
    upload, usage = pg.create("upload"), pg.create("usage")
    # The ledgers are summed with the role that otherwise sees one tenant.
    async with Database(upload.app) as app, Database(usage.worker) as worker:
        yield Pair(upload, usage, worker, AccountWriter(app, on_commit=lambda: None), Direct(LedgerFolds(app)))


async def test_what_was_counted_right_is_left_as_it_is(pair: Pair) -> None:
    """Whether a tenant is counted up to its ledger's end, part of the way, or not at all."""
    for counted in (None, 35, 1, 0):
        await pair.tenant(60, counted=counted)
    before = await pair.counted()
    outcome = await pair.rebuild()
    assert (outcome.done.differing, outcome.done.repaired, outcome.ahead) == (0, 0, [])
    assert outcome.done.entries == sum(row.get("position", 0) for row in before) > 95
    assert await pair.counted() == before


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("UPDATE tenant_usage SET bytes = bytes + 7, files = files + 1", {"total"}),
        ("UPDATE tenant_usage SET trashed_bytes = trashed_bytes + 7", {"trash"}),
        ("UPDATE tenant_usage SET version_files = version_files + 1", {"versions"}),
        ("UPDATE usage_breakdown SET total_size = total_size + 7", {"kind"}),
        ("DELETE FROM usage_breakdown", {"kind", "trash kind", "versions kind"}),
        ("INSERT INTO usage_breakdown SELECT tenant_id, 'video', 'lies', 1, 7, now() FROM tenant_usage", {"kind"}),
        ("UPDATE project_storage SET bytes = bytes - 7", {"project"}),
        ("DELETE FROM project_storage", {"project", "trash project", "versions project"}),
        ("UPDATE user_usage SET files = files + 1", {"user"}),
        ("DELETE FROM user_usage", {"user", "trash user", "versions user"}),
        ("UPDATE usage_breakdown SET trashed_bytes = trashed_bytes + 7", {"trash kind"}),
        ("UPDATE usage_breakdown SET version_files = version_files - 1", {"versions kind"}),
        ("UPDATE project_storage SET trashed_files = trashed_files - 1", {"trash project"}),
        ("UPDATE project_storage SET version_bytes = 0, version_files = 0", {"versions project"}),
        ("UPDATE user_usage SET trashed_bytes = 0, trashed_files = 0", {"trash user"}),
        ("UPDATE user_usage SET version_bytes = version_bytes + 7", {"versions user"}),
        ("UPDATE tenant_month SET images = images + 1", {"images"}),
        ("UPDATE tenant_month SET images = images - 1", {"images"}),
        ("DELETE FROM tenant_month", {"images"}),
        (_MONTH, {"images"}),
    ],
)
async def test_what_differs_is_told_and_put_right(pair: Pair, sql: str, parts: set[str]) -> None:
    right, wrong = await pair.tenant(40), await pair.tenant(40)
    before = await pair.counted()
    where = " AND" if " WHERE " in sql else " WHERE"
    await pair.spoil(f"{sql}{where} tenant_id = '{wrong}'")
    spoiled = await pair.counted()
    told = await pair.rebuild(repair=False)
    assert (told.done.differing, told.done.repaired) == (1, 0)
    hidden = {"trash", "versions"}
    assert {" ".join((d.part, *d.key[:1])) if d.part in hidden else d.part for d in told.differences} == parts
    assert {d.tenant_id for d in told.differences} == {wrong}
    assert await pair.counted() == spoiled  # told, and nothing done
    assert (await pair.rebuild()).done.repaired == 1
    assert await pair.counted() == before
    assert (await pair.rebuild()).done.differing == 0
    [kept] = await query(pair.usage.superuser, "SELECT * FROM counter_adjustment")
    assert (kept["tenant_id"], kept["reason"]) == (wrong, "test")
    sql = "SELECT tenant_id, type FROM outbox_event WHERE topic = 'alerts.v1'"
    assert [tuple(row) for row in await query(pair.usage.superuser, sql)] == [(wrong, "usage.recalculated")]
    assert right != wrong


async def test_what_an_update_has_added_is_filled_in_once(pair: Pair) -> None:
    """And nothing else: what differed before is told by night, and a record that was gone past stays to be replayed."""
    await pair.tenant(40)
    before = await pair.counted()
    waiting = await pair.tenant(40, counted=0)
    records = await records_of(pair.upload.superuser, waiting)
    await pair.apply([record for record in records if record.seq != 3])
    await pair.letter(records[2])
    await pair.spoil("UPDATE tenant_usage SET bytes = bytes + 7 WHERE tenant_id = $1", pair.tenants[0].id)
    none = "trashed_bytes = 0, trashed_files = 0, version_bytes = 0, version_files = 0"
    for table in ("usage_breakdown", "project_storage", "user_usage"):
        await pair.spoil(f"UPDATE {table} SET {none}")
    await pair.spoil("INSERT INTO rebuild_wanted VALUES ('hidden')")
    fillings = [Filling(pair.worker, pair.rebuilder()) for _ in range(3)]
    await asyncio.gather(*(filling.run_when_due() for filling in fillings))
    [done] = await query(pair.usage.superuser, "SELECT reason, whole, repaired FROM rebuild")
    assert tuple(done) == ("hidden", True, 1)
    assert await pair.letters() == [("-", "-")]
    before[0]["bytes"] += 7
    assert [row for row in await pair.counted() if row["tenant_id"] != waiting] == before
    assert (await pair.rebuild()).done.repaired == 2
    assert (await pair.rebuild()).done.differing == 0
    for filling in fillings:
        await filling.run_when_due()
    assert len(await query(pair.usage.superuser, "SELECT FROM rebuild WHERE reason = 'hidden'")) == 1


async def test_without_the_ledgers_it_stays_to_be_filled_in(pair: Pair) -> None:
    await pair.tenant(20)
    await pair.spoil("INSERT INTO rebuild_wanted VALUES ('hidden')")
    filling = Filling(pair.worker, pair.rebuilder())
    pair.folds.broken = True
    with pytest.raises(LedgerUnreachable):
        await filling.run_when_due()
    pair.folds.broken = False
    assert len(await query(pair.usage.superuser, "SELECT FROM rebuild_wanted")) == 1
    await filling.run_when_due()
    assert await query(pair.usage.superuser, "SELECT FROM rebuild_wanted") == []


async def test_images_count_in_the_month_it_is_where_the_tenant_is(pair: Pair) -> None:
    """Whatever month it is elsewhere: bodies and both services agree, also after one of them was spoiled."""
    await pair.tenant(0)
    [tenant] = pair.tenants
    noon = datetime(2025, 12, 31, 12, tzinfo=UTC)
    months = Counter(month_of(noon, zone) for zone in ("Pacific/Auckland", "Pacific/Auckland", "America/New_York"))
    assert months == {date(2026, 1, 1): 2, date(2025, 12, 1): 1}
    for month in months.elements():
        assert (await tenant.store_image(month)).ok
    assert (await tenant._delete(tenant.files[0])).ok  # gives nothing back
    records = await records_of(pair.upload.superuser, tenant.id)
    assert Counter(record.event.image_month for record in records[:3]) == months  # type: ignore[union-attr]
    await pair.apply(records)
    assert await pair.images(tenant.id) == months
    sql = "SELECT month, used FROM image_month WHERE tenant_id = $1"
    assert {row["month"]: row["used"] for row in await query(pair.upload.superuser, sql, tenant.id)} == months
    assert (await pair.rebuild(resume=True)).done.differing == 0
    for spoiled in ("images = 0", "images = images + 5"):
        for resume in (True, False):  # by the sums that were kept, and by the whole ledger
            await pair.spoil(f"UPDATE tenant_month SET {spoiled}")
            outcome = await pair.rebuild(resume=resume)
            assert {(d.part, d.key, d.ledger.files) for d in outcome.differences} == {
                ("images", ("2025-12",), 1),
                ("images", ("2026-01",), 2),
            }
            assert await pair.images(tenant.id) == months


async def test_images_that_were_not_counted_ring_when_they_are(pair: Pair) -> None:
    await pair.tenant(0)
    [tenant] = pair.tenants
    for _ in range(10):
        await tenant.store_image(date(2026, 1, 1))
    await pair.catch_up()
    limits = {"images_month": 10}
    await pair.spoil("UPDATE tenant_usage SET entitlements_version = 1, limits = $1::jsonb", json.dumps(limits))
    await pair.spoil("UPDATE tenant_month SET images = 0")
    await pair.rebuild()
    sql = "SELECT value FROM alert WHERE tenant_id = $1 AND metric = 'images' ORDER BY 1"
    assert [row["value"] for row in await query(pair.usage.superuser, sql, tenant.id)] == [80, 95, 100]


async def test_one_tenant_alone_is_put_right_with_the_role_that_sees_it_alone(pair: Pair) -> None:
    one, other = await pair.tenant(30), await pair.tenant(30)
    await pair.spoil("UPDATE tenant_usage SET bytes = bytes + 1")
    async with Database(pair.usage.app) as app:
        rebuilder = Rebuilder(app, pair.folds, pair.counters, SystemClock())
        done = (await rebuilder.run(one, "test", repair=True)).done
    assert (done.tenants, done.entries, done.repaired) == (1, await _entries(pair, one), 1)
    left = await pair.rebuild(repair=False)
    assert [d.tenant_id for d in left.differences] == [other]


async def test_a_limit_that_was_passed_unseen_is_judged_when_the_counter_is_right(pair: Pair) -> None:
    tenant = await pair.tenant(60)
    [row] = [row for row in await pair.counted() if "position" in row]
    await pair.spoil("UPDATE tenant_usage SET bytes = 0, entitlements_version = 1, limit_bytes = $1", row["bytes"])
    await pair.rebuild()
    sql = "SELECT value FROM alert WHERE tenant_id = $1 ORDER BY 1"
    assert [row["value"] for row in await query(pair.usage.superuser, sql, tenant)] == [80, 95, 100]


async def test_counting_goes_on_meanwhile(pair: Pair) -> None:
    """Files come and are counted while rebuilds run one after the other: nothing is ever found wrong."""
    for _ in range(4):
        await pair.tenant(30)
    stop = asyncio.Event()

    async def consume() -> int:
        rounds = 0
        while not stop.is_set():
            for tenant in pair.tenants:
                for _ in range(3):
                    await tenant.step()
            await pair.catch_up()
            rounds += 1
        return rounds

    consuming = asyncio.create_task(consume())
    found = [(await pair.rebuild()).done.differing for _ in range(12)]
    stop.set()
    assert await consuming >= 2
    assert found == [0] * 12


async def test_a_wrong_counter_is_put_right_by_what_is_missing_while_it_goes_on(pair: Pair) -> None:
    await pair.tenant(30)
    await pair.spoil("UPDATE tenant_usage SET bytes = bytes + 1000")
    swap = Shadow.hold_letters

    async def later(shadow: Shadow) -> None:
        for _ in range(20):
            await pair.tenants[0].step()
        await pair.catch_up()
        await swap(shadow)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shadow, "hold_letters", later)
        assert (await pair.rebuild()).done.repaired == 1
    assert (await pair.rebuild(repair=False)).done.differing == 0


async def test_two_repairs_at_once_do_not_put_it_right_twice(pair: Pair) -> None:
    await pair.tenant(30)
    before = await pair.counted()
    await pair.spoil("UPDATE tenant_usage SET bytes = bytes + 1000")
    outcomes = await asyncio.gather(*(pair.rebuild() for _ in range(4)))
    assert sorted(outcome.done.repaired for outcome in outcomes) == [0, 0, 0, 1]
    assert await pair.counted() == before


async def test_a_record_that_was_left_out_is_counted_and_never_replayed(pair: Pair) -> None:
    tenant = await pair.tenant(20, counted=0)
    records = await records_of(pair.upload.superuser, tenant)
    await pair.apply([record for record in records if record.seq != 3])
    await pair.letter(records[2])
    assert (await pair.rebuild()).done.repaired == 1
    assert await pair.letters() == [("replayed", "rebuild")]
    right = await pair.counted()
    await pair.spoil("UPDATE dead_letter SET replay_requested_at = now()")
    await Replayer(pair.worker, "usage", _replay(pair)).work()
    assert await pair.counted() == right


async def test_a_record_replayed_while_a_rebuild_goes_on_is_counted_once(pair: Pair) -> None:
    tenant = await pair.tenant(20, counted=0)
    records = await records_of(pair.upload.superuser, tenant)
    await pair.apply([record for record in records if record.seq != 3])
    await pair.letter(records[2], asked=True)
    swap = Shadow.hold_letters

    async def later(shadow: Shadow) -> None:
        await Replayer(pair.worker, "usage", _replay(pair)).work()
        await swap(shadow)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shadow, "hold_letters", later)
        outcome = await pair.rebuild()
    assert (outcome.done.differing, outcome.done.repaired) == (1, 0)  # it was compared before
    assert await pair.letters() == [("replayed", "me")]
    assert (await pair.rebuild()).done.differing == 0


async def test_an_answer_that_breaks_off_changes_nothing_and_holds_nothing(pair: Pair) -> None:
    await pair.tenant(20)
    await pair.spoil("UPDATE tenant_usage SET bytes = bytes + 1")
    before = await pair.counted()
    pair.folds.broken = True
    with pytest.raises(LedgerUnreachable):
        await pair.rebuild()
    assert await pair.counted() == before
    assert await query(pair.usage.superuser, "SELECT 1 FROM rebuild") == []
    pair.folds.broken = False
    assert (await pair.rebuild()).done.repaired == 1


async def test_a_ledger_that_ends_before_the_counters_proves_nothing(pair: Pair) -> None:
    """As after a backup of upload's database older than that of usage."""
    tenant = await pair.tenant(20)
    before = await pair.counted()
    await pair.spoil("UPDATE tenant_usage SET position = position + 5, bytes = bytes + 1")
    outcome = await pair.rebuild()
    entries = await _entries(pair, tenant)
    assert outcome.ahead == [Apart(tenant, entries, entries + 5)]
    assert (outcome.done.ahead, outcome.done.differing, outcome.done.tenants) == (1, 0, 0)
    assert (await pair.counted())[0]["bytes"] == before[0]["bytes"] + 1


async def test_a_night_goes_on_where_the_last_one_ended(pair: Pair) -> None:
    for _ in range(3):
        await pair.tenant(30)
    assert (await pair.rebuild(resume=True)).done.entries == (await pair.rebuild(resume=True)).done.entries > 80
    assert pair.folds.asked == [3]  # all three once, then nobody: nothing has happened
    await pair.tenants[1].step()
    await pair.catch_up()
    await pair.spoil("UPDATE usage_breakdown SET total_size = total_size + 1 WHERE tenant_id = $1", pair.tenants[2].id)
    outcome = await pair.rebuild(resume=True, repair=False)
    assert pair.folds.asked == [3, 1]
    assert {d.tenant_id for d in outcome.differences} == {pair.tenants[2].id}  # found though its ledger stood still
    whole = await pair.rebuild(repair=False)
    assert whole.differences == outcome.differences


async def test_the_night_comes_once_a_day(pair: Pair) -> None:
    await pair.tenant(10)
    for at, runs in (
        (timedelta(hours=3), 0),
        (timedelta(hours=5), 1),
        (timedelta(hours=23), 1),
        (timedelta(hours=29), 2),
    ):
        clock = FixedClock(NOW + at)
        rebuilder = Rebuilder(pair.worker, pair.folds, pair.counters, clock)
        nightly = NightlyComparison(pair.worker, rebuilder, clock, 4, repair=False)
        await asyncio.gather(nightly.run_when_due(), nightly.run_when_due())
        found = await query(pair.usage.superuser, "SELECT 1 FROM rebuild WHERE reason = $1", REASON)
        assert len(found) == runs
    async with pair.worker.transaction() as connection:
        assert (await repository.find_newest(connection, REASON)) is not None


async def test_once_a_week_whole_ledgers_are_added_up(pair: Pair) -> None:
    """What was kept of a night is wrong: the counters seem wrong until the week is over."""
    await pair.tenant(20)
    found = []
    for day in range(9):
        clock = FixedClock(NOW.replace(hour=0, minute=7, second=30, microsecond=1) + timedelta(days=day))
        nightly = NightlyComparison(
            pair.worker, Rebuilder(pair.worker, pair.folds, pair.counters, clock), clock, 0, repair=False
        )
        for _ in range(2):
            await nightly.run_when_due()
            clock.advance(timedelta(minutes=5))
        rows = await query(pair.usage.superuser, "SELECT whole, differing FROM rebuild ORDER BY started_at")
        assert len(rows) == day + 1, "once a night"
        found.append(tuple(rows[-1]))
        if day == 1:
            await pair.spoil("UPDATE fold_checkpoint SET parts = '[]'")
    assert found == [(True, 0), (False, 0), *[(False, 1)] * 5, (True, 0), (False, 0)]


async def test_that_there_are_more_differences_is_said(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SHOWN", 2)
    await pair.tenant(30)
    await pair.spoil("UPDATE tenant_usage SET bytes = bytes + 1, trashed_files = trashed_files + 1, version_files = 99")
    outcome = await pair.rebuild(repair=False)
    assert (len(outcome.differences), outcome.more) == (2, 1)
    assert "and 1 more differences" in command._text(outcome, 1.0, repair=False)
    assert '"more": 1' in command._json(outcome, 1.0)


async def _entries(pair: Pair, tenant: UUID) -> int:
    [row] = await query(pair.upload.superuser, "SELECT seq FROM tenant_storage WHERE tenant_id = $1", tenant)
    return int(row["seq"])


def _replay(pair: Pair) -> Any:
    async def replay(connection: Any, records: Sequence[Record]) -> None:
        for record in records:
            await pair.counters.count_left_out(connection, record)

    return replay


async def test_strangers_ledgers_are_summed_without_names(pair: Pair) -> None:
    """What the role gets of others is amounts: the table itself it still cannot read."""
    await pair.tenant(5)
    async with Database(pair.upload.app) as app, app.transaction(uuid4()) as connection:
        assert await connection.fetchval("SELECT count(*) FROM storage_transaction") == 0
        columns = {
            row["column_name"]
            for row in await connection.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'ledger_amount'"
            )
        }
    assert not columns & {"file_name", "file_path", "body", "metadata", "file_id", "hash"}
