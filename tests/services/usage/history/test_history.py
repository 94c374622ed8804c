"""From ledger entries to `GET /api/usage/history`, on a real database."""

import asyncio
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from deploy.local.verify import verify_all
from services.usage.counters.service import CounterService
from services.usage.errors import HistoryNotKept, NotYet, RangeEmpty, RangeTooLong
from services.usage.history.buckets import Granularity, Retention, edges
from services.usage.history.partitions import HistoryKeeper
from services.usage.history.ranges import Asked
from services.usage.history.reader import HistoryReader
from services.usage.history.schemas import HistoryOut, LevelPointOut, Metric
from services.usage.tenants.handlers import TenantHandler
from services.usage.thresholds.service import ThresholdService
from services.usage.traffic.service import TrafficService
from shared.clock import FixedClock
from shared.db import Database
from shared.errors import DomainError
from shared.kafka.records import Record
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.history.timelines import BEGIN, ZONES, Timeline, in_batches
from tests.services.usage.samples import PROJECTS, TENANT, told, traffic

DAY = timedelta(days=1)


@dataclass
class Here:
    """One worker and one HTTP process, whose clock is ours."""

    worker: Database
    app: Database
    clock: FixedClock
    retention: Retention

    async def apply(self, *records: Record) -> None:
        counters = CounterService(ThresholdService(), self.clock, retention=self.retention)
        async with self.worker.transaction() as connection:
            await counters.apply(connection, records)

    async def moved(self, *records: Record) -> None:
        async with self.worker.transaction() as connection:
            await TrafficService(self.clock).apply(connection, records)

    async def live_in(self, zone: str, tenant: UUID = TENANT) -> None:
        async with self.worker.transaction() as connection:
            await TenantHandler("shared", lambda: None).apply(connection, [told(tenant, zone=zone)])

    async def read(self, metric: Metric = "storage", tenant: UUID = TENANT, **asked: Any) -> HistoryOut:
        return await HistoryReader(self.app, self.retention, self.clock).read(tenant, metric, Asked(**asked))

    async def keep(self) -> int:
        return await HistoryKeeper(self.worker, self.retention, self.clock).run()


@pytest.fixture
def here(worker_db: Database, app_db: Database) -> Here:
    return Here(worker_db, app_db, FixedClock(BEGIN), Retention())


def wandering(seed: int) -> Timeline:
    line, at, dice = Timeline(), BEGIN, random.Random(seed)
    for _ in range(60):
        at += timedelta(seconds=dice.choice([0, 1, 59, 600, 4000, 90_000, 200_000]))
        if dice.random() < 0.6 or len(line.sizes) < 2:
            line.store(at, dice.choice([1, 10**9, 2**45]))
        elif dice.random() < 0.5:
            line.delete(at, dice.choice(line.sizes))
        else:
            line.keep(at, dice.choice(line.sizes), dice.randint(0, 500))
    return line


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_answer_is_what_rectangles_add_up_to(here: Here, seed: int) -> None:
    line, dice, zone = wandering(seed), random.Random(seed), ZONES[seed]
    await here.live_in(zone.key)
    for batch in in_batches(line.entries, [dice.randint(0, 60) for _ in range(9)]):
        await here.apply(*batch)
    last = line.marks[-1].at
    here.clock.advance(last - BEGIN + timedelta(hours=5))
    now, granularities = here.clock.now(), dict[Granularity, timedelta]()
    granularities = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": DAY, "month": 30 * DAY}
    for granularity, step in granularities.items():
        for _ in range(6):
            since = now - min(dice.randint(1, 60) * step, timedelta(days=6, hours=20))
            until = since + dice.randint(1, 90) * step
            found = await here.read(since=since, until=until, granularity=granularity)
            between = edges(since, min(until, now), granularity, zone, 2_000)
            assert (found.since, found.until, found.position) == (between[0], between[-1], len(line.entries))
            for item, (begins, ends) in zip(points(found), pairwise(between), strict=True):
                ends = min(ends, now)  # noqa: PLW2901
                assert (item.at, item.value) == (begins, line.level(ends).bytes)
                assert item.peak == line.peak(begins, ends)
                assert exactly(item.byte_seconds) == line.area(begins, ends)
            total = found.total
            assert exactly(total.byte_seconds) == line.area(between[0], min(between[-1], now))  # type: ignore[union-attr]
            counts = await here.read("files", since=since, until=until, granularity=granularity)
            assert [item.value for item in counts.items] == [line.level(min(e, now)).files for e in between[1:]]


def points(found: HistoryOut) -> list[LevelPointOut]:
    return [item for item in found.items if isinstance(item, LevelPointOut)]


def exactly(text: str) -> int:
    """Byte-microseconds."""
    whole, _, rest = text.partition(".")
    return int(whole) * 1_000_000 + int(rest.ljust(6, "0"))


async def test_a_quiet_tenant_has_had_it_all_along(here: Here) -> None:
    """Years after its only change, and after the next: readings past the retention say what was carried in."""
    line = Timeline()
    line.store(BEGIN, 10)
    await here.apply(*line.entries)
    here.clock.advance(6 * 365 * DAY)
    await here.keep()
    assert (await here.read(granularity="day")).total.average == 10  # type: ignore[union-attr]
    now = here.clock.now()
    line.store(now, 5)
    await here.apply(line.entries[-1])
    here.clock.advance(timedelta(hours=30))
    for granularity in ("minute", "hour", "day", "month"):
        found = await here.read(since=now - DAY / 2, until=now + DAY / 2, granularity=granularity)
        assert [item.value for item in found.items][:1] in ([10], [15]), granularity
        assert found.total.peak in {10, 15}  # type: ignore[union-attr]
        assert exactly(found.total.byte_seconds) == line.area(found.since, min(found.until, here.clock.now()))  # type: ignore[union-attr]


async def test_partitions_come_and_go_and_figures_stay(here: Here, usage_db: ServiceDatabase) -> None:
    line = Timeline()
    for day in range(12):
        await here.keep()
        line.store(BEGIN + day * DAY, 1)
        await here.apply(line.entries[-1])
        await here.moved(traffic(day + 1, here.clock.now() + timedelta(seconds=1), (None, 1, 1, 1)))
        here.clock.advance(DAY)
    line.store(here.clock.now(), 1)
    await here.apply(line.entries[-1])
    names = await partitions(usage_db, "storage_minute")
    here.clock.advance(timedelta(minutes=2))
    assert len(names) == 1 + 10 + 7  # the default one, those kept with today's, those to come
    oldest = here.clock.now() - 7 * DAY + timedelta(minutes=1)
    found = await here.read(since=oldest, until=oldest + timedelta(hours=20), granularity="minute")
    assert exactly(found.total.byte_seconds) == line.area(found.since, found.until)  # type: ignore[union-attr]
    here.clock.advance(20 * DAY)
    assert await here.keep() > 0
    assert await here.keep() == 0, "twice is once"
    rows = await query(usage_db.superuser, "SELECT count(*) FROM storage_minute")
    assert rows[0][0] == 1, "the newest says what was carried in"
    assert (await query(usage_db.superuser, "SELECT count(*) FROM traffic_minute"))[0][0] == 0
    found = await here.read(since=here.clock.now() - DAY, granularity="minute", until=here.clock.now() - DAY / 2)
    assert {item.value for item in found.items} == {13}
    days = await here.read("requests", since=BEGIN, granularity="day")
    assert days.total.value == 12


async def test_what_came_too_early_is_moved_where_it_belongs(here: Here, usage_db: ServiceDatabase) -> None:
    """Before the first run, and while no worker was there to make partitions."""
    line = Timeline()
    for minute in range(3):
        line.store(BEGIN + timedelta(minutes=minute), 1)
    await here.apply(*line.entries)
    assert (await query(usage_db.superuser, "SELECT count(*) FROM storage_minute_default"))[0][0] == 2
    await asyncio.gather(here.keep(), here.keep(), here.apply(*line.entries))
    assert (await query(usage_db.superuser, "SELECT count(*) FROM storage_minute_default"))[0][0] == 0
    assert (await query(usage_db.superuser, "SELECT count(*) FROM storage_minute_20260328"))[0][0] == 2


async def test_nobody_reaches_a_partition_but_by_its_table(here: Here, usage_db: ServiceDatabase) -> None:
    await here.keep()
    for name in await partitions(usage_db, "storage_hour") + await partitions(usage_db, "traffic_day"):
        for dsn in (usage_db.app, usage_db.worker):
            with pytest.raises(Exception, match="permission denied"):
                await query(dsn, f"SELECT 1 FROM {name}")
    assert await verify_all({"usage": usage_db.owner}) == {"usage": []}
    with pytest.raises(Exception, match="permission denied"):
        await query(usage_db.app, "SELECT keep_history('storage', 'day', now(), now() - interval '2 days')")
    for forged in ("'tenant', 'day', now(), now() - interval '9 days'", "'storage', 'day', now(), now()"):
        with pytest.raises(Exception, match="no such history"):
            await query(usage_db.worker, f"SELECT keep_history({forged})")


async def partitions(dsn: ServiceDatabase, table: str) -> list[str]:
    sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY 1"
    return [row[0] for row in await query(dsn.superuser, sql, table)]


async def test_traffic_is_in_the_bucket_it_ends_in(here: Here) -> None:
    await here.live_in("Asia/Kolkata")
    midnight = datetime(2026, 3, 27, 18, 30, tzinfo=UTC)  # there
    await here.moved(traffic(1, midnight, (None, 1, 2, 3), (PROJECTS[0], 10, 20, 30)))
    await here.moved(traffic(2, midnight + timedelta(microseconds=1), (None, 100, 200, 300)))
    await here.moved(traffic(3, midnight + timedelta(seconds=59), (None, 1000, 2000, 3000)))
    wanted: list[tuple[Metric, int, int]] = [
        ("traffic_in", 11, 1100),
        ("traffic_out", 22, 2200),
        ("traffic", 33, 3300),
        ("requests", 33, 3300),
    ]
    for metric, first, second in wanted:
        for granularity, step in (("minute", timedelta(minutes=1)), ("day", DAY)):
            found = await here.read(metric, since=midnight - step, until=midnight + step, granularity=granularity)
            assert [item.value for item in found.items] == [first, second]
            assert (found.total.value, found.position) == (first + second, 0)
        hour = await here.read(metric, since=midnight, until=midnight + timedelta(minutes=1), granularity="hour")
        assert [item.value for item in hour.items] == [first + second], "hours are those of UTC"
        month = await here.read(metric, since=midnight - 40 * DAY, granularity="month")
        assert [item.value for item in month.items] == [0, first + second]
        assert month.items[1].at.isoformat() == "2026-03-01T00:00:00+05:30"


async def test_a_repeat_adds_no_history(here: Here) -> None:
    line = wandering(3)
    await here.apply(*line.entries)
    here.clock.advance(line.marks[-1].at - BEGIN + timedelta(hours=1))
    before = await here.read(granularity="day")
    await here.apply(*line.entries[:30])
    await here.apply(*line.entries)
    assert await here.read(granularity="day") == before


async def test_tenants_of_one_batch_stay_apart(here: Here) -> None:
    tenants = [uuid4() for _ in range(8)]
    lines = [wandering(seed) for seed in range(8)]
    records = []
    for tenant, line in zip(tenants, lines, strict=True):
        for record in line.entries:
            event = record.event.model_copy(update={"tenant_id": tenant})  # type: ignore[union-attr]
            records.append(replace(record, tenant_id=tenant, event=event))
    await here.apply(*records)
    end = max(line.marks[-1].at for line in lines)
    here.clock.advance(end - BEGIN + timedelta(hours=1))
    for tenant, line in zip(tenants, lines, strict=True):
        found = await here.read(tenant=tenant, since=BEGIN, granularity="day")
        assert exactly(found.total.byte_seconds) == line.area(BEGIN - DAY, here.clock.now())  # type: ignore[union-attr]
    assert (await here.read(tenant=uuid4(), since=BEGIN, granularity="day")).total.value == 0


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"since": BEGIN + DAY}, NotYet),
        ({"since": BEGIN - DAY, "until": BEGIN - DAY}, RangeEmpty),
        ({"since": BEGIN - DAY, "until": BEGIN - 2 * DAY}, RangeEmpty),
        ({"since": BEGIN - 2 * DAY, "granularity": "minute"}, RangeTooLong),
        ({"since": BEGIN - 63 * DAY, "granularity": "hour"}, RangeTooLong),
        ({"since": BEGIN - 1501 * DAY, "granularity": "day"}, RangeTooLong),
        ({"since": BEGIN - 8 * DAY, "until": BEGIN - 8 * DAY + DAY / 2, "granularity": "minute"}, HistoryNotKept),
        ({"since": BEGIN - 93 * DAY, "granularity": "hour"}, HistoryNotKept),
        ({"since": BEGIN - 1831 * DAY, "granularity": "month"}, HistoryNotKept),
        ({"since": datetime.min.replace(tzinfo=UTC)}, HistoryNotKept),
        ({"until": datetime.min.replace(tzinfo=UTC)}, HistoryNotKept),
    ],
)
async def test_what_cannot_be_answered(here: Here, asked: dict[str, Any], error: type[DomainError]) -> None:
    with pytest.raises(error):
        await here.read(**asked)


async def test_what_is_shown_where_nobody_says(here: Here) -> None:
    day = await here.read()
    assert (day.granularity, len(day.items)) == ("hour", 25), "24 hours, and the one that runs"
    for asked, granularity, number in (
        ({"since": BEGIN - 14 * DAY}, "hour", 337),
        ({"since": BEGIN - 20 * DAY}, "day", 21),
        ({"since": BEGIN - 1_500 * DAY}, "month", 50),
        ({"granularity": "minute"}, "minute", 181),
        ({"granularity": "day"}, "day", 31),
        ({"granularity": "month"}, "month", 13),
        ({"since": BEGIN - timedelta(minutes=1499), "granularity": "minute"}, "minute", 1500),
        ({"since": BEGIN, "until": BEGIN + 900 * DAY}, "hour", 1),
        ({"until": datetime.max.replace(tzinfo=UTC)}, "hour", 25),
    ):
        found = await here.read(**asked)
        assert (found.granularity, len(found.items)) == (granularity, number), asked
