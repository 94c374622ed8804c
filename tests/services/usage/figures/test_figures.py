"""Members, projects and credits on a real database: noted, judged, limited and shown."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from services.usage.counters.handlers import UsageHandler
from services.usage.counters.service import CounterService
from services.usage.months import Month
from services.usage.tenants.handlers import TenantHandler
from services.usage.thresholds.service import ThresholdService
from services.usage.thresholds.sweep import Sweep
from shared.clock import FixedClock, SystemClock
from shared.db import Database
from shared.events import MemberAdded, MemberRemoved, Metric, TenantDeleted, TenantUpdated
from shared.kafka.records import Record
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.api import SERVICE, Api, person
from tests.services.usage.present import last_month, now, this_month
from tests.services.usage.samples import TENANT, credited, granted, record, told

PATH = "/api/usage/thresholds"
MINE = [(80, "crossed"), (95, "crossed"), (100, "crossed")]


def team(seq: int, members: int, projects: int = 0, tenant: UUID = TENANT) -> Record:
    return told(tenant, seq, TenantUpdated, members=members, projects=projects)


async def events(dsn: ServiceDatabase, metric: Metric) -> list[tuple[int, str]]:
    sql = """
        SELECT (body::jsonb ->> 'percent')::int AS percent, split_part(type, '.', 2) AS what
        FROM outbox_event WHERE body::jsonb ->> 'metric' = $1 ORDER BY seq
    """
    return [tuple(row) for row in await query(dsn.superuser, sql, metric)]


async def shown(api: Api, metric: Metric) -> Any:
    """Of the limits, which the summary and the check agree with."""
    _, body = await api.get("/api/usage/limits")
    _, summary = await api.get("/api/usage/summary")
    assert summary["metrics"] == body["items"]
    [item] = [item for item in body["items"] if item["metric"] == metric]
    asked = await check(api, metric, 0)
    assert (asked["used"], asked["limit"], asked["reset_at"]) == (item["used"], item["limit"], item["reset_at"])
    return item


async def check(api: Api, metric: Metric, amount: int) -> Any:
    asked = {"metric": metric, "amount": amount}
    status, body = await api.call("POST", "/api/usage/check", asked)
    assert status == 200, body
    inside = await api.call("POST", f"/internal/usage/{TENANT}/check", asked, as_=SERVICE)
    assert {**inside[1], "as_of": 0} == {**body, "as_of": 0}
    return body


async def test_the_owner_alone_is_no_reason_to_ring(api: Api, usage_db: ServiceDatabase) -> None:
    await api.moved(granted(1, 100, members=1, projects=2), told(TENANT))
    assert await events(usage_db, "members") == []
    assert (await shown(api, "members"))["status"] == "full", "nobody else can be added"
    assert (await api.get("/api/usage/limits"))[1]["within"] is True
    assert (await check(api, "members", 1))["allowed"] is False
    assert [(await check(api, "projects", n))["allowed"] for n in (2, 3)] == [True, False]


async def test_each_of_a_team_is_counted_and_rings_once(api: Api, usage_db: ServiceDatabase) -> None:
    await api.moved(granted(1, 100, members=5, projects=10), told(TENANT))
    user = {"user_id": uuid4(), "role": "member"}
    for seq in (2, 3, 4):
        state = team(seq, seq).event
        assert state is not None
        await api.moved(record(seq, MemberAdded(**state.model_dump(), **user)))
    assert await events(usage_db, "members") == [(80, "crossed")]
    item = await shown(api, "members")
    assert (item["unit"], item["used"], item["limit"], item["status"]) == ("members", 4, 5, "warning")
    await api.moved(team(4, 4), team(3, 3), team(2, 2))  # repeats, and older ones
    assert (await shown(api, "members"))["used"] == 4
    await api.moved(team(5, 5, 9))
    state = team(6, 3, 9).event
    assert state is not None
    await api.moved(record(6, MemberRemoved(**state.model_dump(), **user)))
    assert await events(usage_db, "members") == [*MINE, (100, "cleared"), (95, "cleared"), (80, "cleared")]
    assert await events(usage_db, "projects") == [(80, "crossed")]
    _, alerts = await api.get("/api/usage/alerts?metric=members")
    assert sorted((a["percent"], a["used"], a["limit"]) for a in alerts["items"]) == [
        (80, 4, 5),
        (95, 5, 5),
        (100, 5, 5),
    ]
    assert all(a["cleared_at"] for a in alerts["items"])


async def test_a_limit_below_what_there_is(api: Api, usage_db: ServiceDatabase) -> None:
    await api.moved(granted(1, 100, members=None, projects=None), team(1, 4, 3))
    assert await events(usage_db, "members") == []
    await api.moved(granted(2, 100, members=1, projects=2))
    assert (await events(usage_db, "members"), await events(usage_db, "projects")) == (MINE, MINE)
    item = await shown(api, "members")
    assert (item["percentage"], item["remaining"], item["status"]) == (400.0, 0, "full")
    assert (await api.get("/api/usage/limits"))[1]["within"] is False
    await api.moved(granted(3, 100, members=50, projects=20))
    assert [what for _, what in (await events(usage_db, "members"))[3:]] == ["cleared"] * 3


async def test_the_terms_billing_is_asked_for_judge_what_was_told(api: Api, usage_db: ServiceDatabase) -> None:
    api.billing.others = {"members": 5, "projects": 5}
    await api.moved(team(1, 4, 5))
    assert await events(usage_db, "members") == []
    assert (await check(api, "members", 1))["allowed"] is True
    assert await events(usage_db, "members") == [(80, "crossed")]
    assert await events(usage_db, "projects") == MINE


async def test_credits_are_spent_and_bought(api: Api, usage_db: ServiceDatabase) -> None:
    assert (await shown(api, "credits"))["limit"] == 0
    assert (await check(api, "credits", 1))["allowed"] is False, "nothing was told yet"
    month = str(this_month())
    await api.moved(granted(1, 100), credited(1, 100, 0, month), credited(2, 15, 85, month))
    item = await shown(api, "credits")
    assert (item["used"], item["limit"], item["remaining"], item["percentage"]) == (85, 100, 15, 85.0)
    assert datetime.fromisoformat(item["reset_at"]) == this_month().next.begins(UTC)
    assert [(await check(api, "credits", n))["allowed"] for n in (15, 16)] == [True, False]
    await api.moved(credited(3, 0, 100, month))
    assert await events(usage_db, "credits") == MINE
    await api.moved(credited(4, 900, 100, month))  # bought: armed again
    assert [what for _, what in (await events(usage_db, "credits"))[3:]] == ["cleared"] * 3
    await api.moved(credited(3, 0, 100, month), credited(5, 0, 1000, month))
    assert (await events(usage_db, "credits"))[6:] == MINE
    own = await api.call("PUT", PATH, {"metric": "credits", "items": [{"percent": 50, "hard": True}]})
    assert own[0] == 200
    assert (await check(api, "credits", 0))["limit"] == 500


async def test_the_credits_of_a_month_that_has_ended(api: Api, usage_db: ServiceDatabase) -> None:
    await api.moved(granted(1, 100), credited(1, 1, 99, str(last_month())))
    assert {i["state"] for i in (await api.get(f"{PATH}?metric=credits"))[1]["items"]} == {"armed"}
    item = await shown(api, "credits")
    assert (item["used"], item["limit"], item["remaining"]) == (0, 1, 1), "what is left stays"
    await api.moved(credited(2, 0, 1, str(this_month())))
    told_of = await query(usage_db.superuser, "SELECT value, period FROM alert ORDER BY period, value")
    assert [tuple(row) for row in told_of] == [
        *((value, last_month().first) for value in (80, 95)),
        *((value, this_month().first) for value in (80, 95, 100)),
    ]
    await api.moved(credited(3, 7, 100, str(last_month())))  # late news of it
    assert (await shown(api, "credits"))["used"] == 0
    assert (await shown(api, "credits"))["remaining"] == 7


async def test_the_month_of_credits_is_the_tenants(api: Api) -> None:
    zone = ZoneInfo("Pacific/Kiritimati")
    async with api.worker.transaction() as connection:
        await TenantHandler("shared", lambda: None).apply(connection, [told(TENANT, zone=zone.key)])
    month = Month.of(now(), zone)
    await api.moved(granted(1, 100), credited(1, 5, 3, str(month)))
    item = await shown(api, "credits")
    assert (item["used"], datetime.fromisoformat(item["reset_at"])) == (3, month.next.begins(zone))


async def test_a_clock_far_ahead_stops_nothing(api: Api) -> None:
    await api.moved(granted(1, 100), credited(1, 5, 3, "2999-01"))
    await api.moved(credited(2, 4, 4, str(this_month())))
    assert (await shown(api, "credits"))["remaining"] == 4


async def test_the_sweep_finds_nothing_unless_the_inline_way_is_broken(
    worker_db: Database, usage_db: ServiceDatabase
) -> None:
    clock = FixedClock(now())
    counters = CounterService(ThresholdService(), clock)
    batch = [granted(1, 100, members=5, projects=5), team(1, 4, 4), credited(1, 20, 80, str(this_month()))]
    async with worker_db.transaction() as connection:
        await counters.apply(connection, batch)
    sweep = Sweep(worker_db, counters, clock)
    assert await sweep.run() == (1, 0)
    await query(usage_db.superuser, "UPDATE tenant_figure SET used = 5 WHERE metric = 'members'")
    await query(usage_db.superuser, "UPDATE tenant_figure SET used = 96, remaining = 4 WHERE metric = 'credits'")
    assert await sweep.run() == (1, 1)
    assert await sweep.run() == (1, 0)
    assert await events(usage_db, "members") == MINE
    assert await events(usage_db, "credits") == MINE[:2]
    clock.advance(this_month().next.begins(UTC) - clock.now() + timedelta(hours=6))
    assert await sweep.run() == (1, 0), "a new month is nothing that was missed"
    assert (await events(usage_db, "credits"))[2:] == [(95, "cleared"), (80, "cleared")]
    assert await sweep.run() == (1, 0)
    assert await events(usage_db, "members") == MINE, "there are as many of them as before"


async def test_what_was_left_out_is_taken_when_it_is_the_newest(worker_db: Database, usage_db: ServiceDatabase) -> None:
    counters = CounterService(ThresholdService(), SystemClock())
    handler = UsageHandler(counters, SystemClock(), changed=lambda _: None, announced=lambda: None)

    async def replay(*records: Record) -> list[tuple[str, int, int]]:
        async with worker_db.transaction() as connection:
            await handler.replay(connection, records)
        rows = await query(usage_db.superuser, "SELECT metric, used, seq FROM tenant_figure WHERE metric <> 'projects'")
        return sorted(tuple(row) for row in rows)

    async with worker_db.transaction() as connection:
        await counters.apply(connection, [team(1, 1), team(3, 3), credited(2, 5, 5)])
    assert await replay(team(2, 2), credited(1, 10)) == [("credits", 5, 2), ("members", 3, 3)]
    assert await replay(team(4, 4), credited(3, 4, 6)) == [("credits", 6, 3), ("members", 4, 4)]
    assert await replay(told(TENANT, 5, TenantDeleted)) == [("credits", 6, 3), ("members", 4, 4)]


async def test_batches_of_several_writers_end_where_the_newest_is(
    worker_db: Database, usage_db: ServiceDatabase
) -> None:
    """As after rebalances: the same records again and again, older after newer, several consumers at once."""
    chance, tenants = random.Random(7), [UUID(int=n) for n in range(1, 6)]
    counters = CounterService(ThresholdService(), SystemClock())
    news = {t: [team(seq, chance.randrange(1, 9), chance.randrange(9), t) for seq in range(1, 13)] for t in tenants}
    everything = [r for mine in news.values() for r in mine]
    everything += [granted(1, 100, members=5, projects=5, tenant=t) for t in tenants]

    async def apply(batch: Sequence[Record]) -> None:
        async with worker_db.transaction() as connection:
            await counters.apply(connection, batch)

    batches = [chance.sample(everything, 9) for _ in range(60)] + [everything]
    async with asyncio.timeout(60):
        for start in range(0, len(batches), 5):
            await asyncio.gather(*(apply(batch) for batch in batches[start : start + 5]))
    rows = await query(usage_db.superuser, "SELECT tenant_id, metric, used FROM tenant_figure")
    last = {t: mine[-1].event for t, mine in news.items()}
    assert {(row["tenant_id"], row["metric"]): row["used"] for row in rows} == {
        (t, metric): getattr(event, metric) for t, event in last.items() for metric in ("members", "projects")
    }
    assert await Sweep(worker_db, counters, SystemClock()).run() == (5, 0)
    sql = """
        SELECT a.tenant_id, a.metric, a.value FROM alert AS a WHERE cleared_at IS NULL
        EXCEPT SELECT f.tenant_id, f.metric, v FROM tenant_figure AS f, unnest('{80,95,100}'::bigint[]) AS v
        WHERE f.used * 100 >= 5 * v AND f.metric IN ('members', 'projects')
    """
    assert await query(usage_db.superuser, sql) == []


@pytest.mark.parametrize("metric", ["members", "projects", "credits"])
async def test_only_managers_choose_and_strangers_see_nothing(api: Api, metric: Metric) -> None:
    await api.moved(granted(1, 100, members=5, projects=5), team(1, 4, 4), credited(1, 1, 4, str(this_month())))
    body = {"metric": metric, "items": [{"percent": 50}, {"amount": 3}]}
    assert (await api.call("PUT", PATH, body, as_=person(role="member")))[0] == 403
    status, chosen = await api.call("PUT", PATH, body)
    assert (status, [i["state"] for i in chosen["items"]]) == (200, ["reached", "reached"])
    other = (await api.get(f"{PATH}?metric={metric}", tenant=uuid4()))[1]
    assert (other["own"], {i["state"] for i in other["items"]}) == (False, {"armed"})
