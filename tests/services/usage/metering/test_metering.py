"""Every metric on a real database: counted, judged, limited and shown."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from services.usage.counters.service import CounterService
from services.usage.months import Month
from services.usage.thresholds.service import ThresholdService
from services.usage.thresholds.sweep import Sweep
from shared.clock import FixedClock, SystemClock
from shared.db import Database
from shared.events import Metric
from shared.kafka.records import Record
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.api import SERVICE, Api, person
from tests.services.usage.present import last_month, now, this_month
from tests.services.usage.samples import TENANT, bought, granted, stored, traffic

PATH = "/api/usage/thresholds"


def moved(seq: int, size: int, requests: int = 1, *, at: datetime | None = None, tenant: UUID = TENANT) -> Record:
    return traffic(seq, at or now(), (None, 1, size - 1, requests), tenant=tenant)


def image(seq: int, month: Month | None = None) -> Record:
    return stored(seq, 1, image=(month or this_month()).first)


async def events(dsn: ServiceDatabase, metric: Metric) -> list[tuple[str, int, str]]:
    """(what, percent or amount, period)."""
    rows = await query(
        dsn.superuser,
        """
        SELECT type, coalesce(body::jsonb ->> 'percent', body::jsonb ->> 'amount') AS level,
               body::jsonb ->> 'period' AS period FROM outbox_event WHERE body::jsonb ->> 'metric' = $1 ORDER BY seq
        """,
        metric,
    )
    return [(row["type"].split(".")[1], int(row["level"]), row["period"]) for row in rows]


async def choose(api: Api, metric: Metric, *items: dict[str, Any]) -> Any:
    status, body = await api.call("PUT", PATH, {"metric": metric, "items": list(items)})
    assert status == 200, body
    return body


async def check(api: Api, metric: Metric, amount: int) -> Any:
    asked = {"metric": metric, "amount": amount}
    status, body = await api.call("POST", "/api/usage/check", asked)
    assert status == 200, body
    inside = await api.call("POST", f"/internal/usage/{TENANT}/check", asked, as_=SERVICE)
    assert {**inside[1], "as_of": 0} == {**body, "as_of": 0}
    return body


async def test_every_metric_beside_its_limit(api: Api) -> None:
    told_limits = granted(1, 100, traffic=1000, images=50)
    await api.moved(told_limits, stored(1, 59), image(2), moved(1, 900, 7), moved(2, 50, 3))
    _, body = await api.get("/api/usage/limits")
    shown = [(i["metric"], i["unit"], i["used"], i["limit"], i["percentage"], i["status"]) for i in body["items"]]
    assert shown == [
        ("storage", "bytes", 60, 100, 60.0, "ok"),
        ("traffic", "bytes", 950, 1000, 95.0, "critical"),
        ("images", "images", 1, 50, 2.0, "ok"),
        ("requests", "requests", 10, None, None, "unlimited"),
        ("disk", "bytes", 0, None, None, "unlimited"),
        ("members", "members", 1, None, None, "unlimited"),
        ("projects", "projects", 0, None, None, "unlimited"),
        ("credits", "credits", 0, 0, 100.0, "full"),
    ]
    assert [i["reset_at"] and datetime.fromisoformat(i["reset_at"]) for i in body["items"]] == [
        None,
        this_month().next.begins(UTC),
        this_month().next.begins(UTC),
        this_month().next.begins(UTC),
        None,
        None,
        None,
        this_month().next.begins(UTC),
    ]
    assert body["within"] is True
    inside = (await api.get(f"/internal/usage/{TENANT}/limits", as_=SERVICE))[1]
    summary = (await api.get("/api/usage/summary"))[1]
    assert inside["items"] == body["items"] == summary["metrics"]
    assert summary["traffic"]["bytes"] == 950
    await api.moved(granted(2, 100, traffic=1000, images=0), moved(3, 50))
    _, body = await api.get("/api/usage/limits")
    assert (body["within"], [i["status"] for i in body["items"][1:3]]) == (False, ["full", "full"])


async def test_a_plan_without_images_is_within_its_limits(api: Api) -> None:
    await api.moved(granted(1, 100, traffic=1000, images=0))
    _, body = await api.get("/api/usage/limits")
    assert (body["within"], body["items"][2]["status"]) == (True, "full")
    assert (await check(api, "images", 1))["allowed"] is False


async def test_check_of_every_metric(api: Api) -> None:
    await api.moved(granted(1, 100, traffic=1000, images=5), image(1), moved(1, 900, 40))
    found = await check(api, "traffic", 100)
    assert (found["allowed"], found["used"], found["limit"], found["remaining"]) == (True, 900, 1000, 100)
    assert datetime.fromisoformat(found["reset_at"]) == this_month().next.begins(UTC)
    assert (await check(api, "traffic", 101))["allowed"] is False
    assert [(await check(api, "images", n))["allowed"] for n in (4, 5)] == [True, False]
    assert [(await check(api, m, 2**50))["allowed"] for m in ("requests", "disk")] == [True, True]
    await choose(api, "requests", {"amount": 50, "hard": True})
    await choose(api, "disk", {"amount": 50, "hard": True})
    assert [(await check(api, "requests", n))["allowed"] for n in (10, 11)] == [True, False]
    disk = await check(api, "disk", 51)
    assert (disk["allowed"], disk["reset_at"]) == (False, None)


async def test_thresholds_of_each_metric_are_its_own(api: Api, usage_db: ServiceDatabase) -> None:
    await api.moved(granted(1, 100, traffic=1000, images=5), moved(1, 960, 8))
    assert await events(usage_db, "traffic") == [
        ("crossed", 80, str(this_month().first)),
        ("crossed", 95, str(this_month().first)),
    ]
    usual = (await api.get(f"{PATH}?metric=traffic"))[1]
    assert [(i["percent"], i["state"]) for i in usual["items"]] == [(80, "reached"), (95, "reached"), (100, "armed")]
    own = await choose(api, "traffic", {"percent": 96}, {"amount": 500})
    assert [(i["percent"], i["amount"], i["state"]) for i in own["items"]] == [
        (96, None, "reached"),
        (None, 500, "reached"),
    ]
    assert (own["own"], (await api.get(PATH))[1]["own"]) == (True, False), "storage has the usual ones"
    assert (await events(usage_db, "traffic"))[2:] == [
        (what, level, str(this_month().first))
        for what, level in (("crossed", 500), ("crossed", 96), ("cleared", 95), ("cleared", 80))
    ]
    status, again = await api.call("DELETE", f"{PATH}?metric=traffic")
    assert (status, again["own"], again["items"]) == (200, False, usual["items"])
    _, alerts = await api.get("/api/usage/alerts?metric=traffic")
    assert {a["period"] for a in alerts["items"]} == {str(this_month().first)}
    assert (await api.get("/api/usage/alerts?metric=images"))[1]["items"] == []


async def test_what_no_plan_limits_has_amounts_only(api: Api, usage_db: ServiceDatabase) -> None:
    await api.moved(granted(1, 100), moved(1, 10, 6))
    for metric in ("requests", "disk"):
        assert (await api.get(f"{PATH}?metric={metric}"))[1]["items"] == []
        status, body = await api.call("PUT", PATH, {"metric": metric, "items": [{"percent": 80}]})
        assert (status, body["code"]) == (422, "invalid_request")
    await choose(api, "requests", {"amount": 5}, {"amount": 9})
    await api.moved(moved(2, 10, 3))
    assert [(what, level) for what, level, _ in await events(usage_db, "requests")] == [("crossed", 5), ("crossed", 9)]


async def test_traffic_that_was_bought(api: Api, usage_db: ServiceDatabase) -> None:
    """Raises the limit of its month, at once and everywhere, and is gone with it."""
    await api.moved(granted(1, 100, traffic=1000), moved(1, 1100))
    assert (await check(api, "traffic", 1))["allowed"] is False
    await api.moved(bought(1, 1000, str(this_month()), at=now()))
    found = await check(api, "traffic", 900)
    assert (found["allowed"], found["used"], found["limit"], found["bought"]) == (True, 1100, 2000, 1000)
    assert (await check(api, "traffic", 901))["allowed"] is False
    rang = [(what, level) for what, level, _ in await events(usage_db, "traffic")]
    assert rang == [("crossed", n) for n in (80, 95, 100)] + [("cleared", n) for n in (100, 95, 80)]
    limits = (await api.get("/api/usage/limits"))[1]["items"][1]
    shown = [limits[name] for name in ("used", "limit", "bought", "remaining", "percentage", "status")]
    assert shown == [1100, 2000, 1000, 900, 55.0, "ok"]
    assert (await api.get("/api/usage/summary"))[1]["metrics"][1] == limits
    await api.moved(granted(2, 100, traffic=2000))  # another plan keeps it
    assert (await check(api, "traffic", 0))["limit"] == 3000
    await api.moved(granted(3, 100))
    assert (await check(api, "traffic", 2**50))["allowed"] is True


async def test_next_month_what_was_bought_is_gone(worker_db: Database, usage_db: ServiceDatabase) -> None:
    clock = FixedClock(now())
    counters = CounterService(ThresholdService(), clock)
    async with worker_db.transaction() as connection:
        await counters.apply(
            connection, [granted(1, None, traffic=100), bought(1, 100, str(this_month()), at=now()), moved(1, 90)]
        )
    assert await events(usage_db, "traffic") == [], "90 of 200"
    clock.advance(this_month().next.begins(UTC) - clock.now() + timedelta(hours=6))
    await Sweep(worker_db, counters, clock).run()
    async with worker_db.transaction() as connection:
        await counters.apply(connection, [moved(2, 90, at=clock.now())])
    assert [(what, level) for what, level, _ in await events(usage_db, "traffic")] == [("crossed", 80)], "90 of 100"


async def test_bought_for_a_month_that_is_over(api: Api) -> None:
    """News that come late raise nothing now."""
    await api.moved(granted(1, 100, traffic=1000), moved(1, 10), bought(1, 500, str(last_month()), at=now()))
    found = await check(api, "traffic", 0)
    assert (found["limit"], found["bought"]) == (1000, 0)


async def test_a_hard_threshold_stands_above_what_is_bought(api: Api) -> None:
    await api.moved(granted(1, 100, traffic=1000), bought(1, 1000, str(this_month()), at=now()), moved(1, 10))
    await choose(api, "traffic", {"amount": 500, "hard": True})
    assert [(await check(api, "traffic", n))["allowed"] for n in (490, 491)] == [True, False]


async def test_images_of_the_month(api: Api, usage_db: ServiceDatabase) -> None:
    await api.moved(granted(1, None, images=5))
    batch = [image(1), image(2), stored(3, 1), image(4), image(5)]
    for _ in range(3):  # repeats change nothing
        await api.moved(*batch)
    assert [(what, level) for what, level, _ in await events(usage_db, "images")] == [("crossed", 80)]
    assert (await check(api, "images", 1))["remaining"] == 1


async def test_another_limit_judges_all_of_them(api: Api, usage_db: ServiceDatabase) -> None:
    await api.moved(granted(1, None), image(1), moved(1, 90))
    await api.moved(granted(2, None, traffic=100, images=1))
    assert [level for _, level, _ in await events(usage_db, "traffic")] == [80]
    assert [level for _, level, _ in await events(usage_db, "images")] == [80, 95, 100]
    await api.moved(granted(3, None))
    assert [what for what, _, _ in await events(usage_db, "images")] == ["crossed"] * 3 + ["cleared"] * 3


async def test_the_terms_billing_is_asked_for_have_every_limit(api: Api, usage_db: ServiceDatabase) -> None:
    """As after an upgrade: the version was heard, but of storage only."""
    await api.moved(granted(1, 100), moved(1, 90))
    await query(usage_db.superuser, "UPDATE tenant_usage SET limits = NULL")
    api.billing.asked = 0
    api.billing.others = {"traffic_bytes_month": 100}
    assert (await check(api, "traffic", 11))["allowed"] is False
    assert (await check(api, "traffic", 10))["allowed"] is True
    assert api.billing.asked == 1
    assert [level for _, level, _ in await events(usage_db, "traffic")] == [80], "and what stands is judged by it"


async def test_the_month_is_the_tenants(api: Api, usage_db: ServiceDatabase) -> None:
    zone = ZoneInfo("Pacific/Kiritimati")
    month = Month.of(now(), zone)
    await query(
        usage_db.superuser,
        "INSERT INTO tenant (tenant_id, slug, name, owner_id, timezone, isolation, seq) "
        "VALUES ($1, 't', 'T', $1, $2, 'shared', 1)",
        TENANT,
        zone.key,
    )
    before = month.begins(zone)  # ends with the month before
    await api.moved(granted(1, 100, traffic=100), moved(1, 85, at=before), moved(2, 90))
    found = await check(api, "traffic", 0)
    assert (found["used"], datetime.fromisoformat(found["reset_at"])) == (90, month.next.begins(zone))
    rang = await events(usage_db, "traffic")
    old = str((month.first - timedelta(days=1)).replace(day=1))
    assert rang == [("crossed", 80, old), ("cleared", 80, old), ("crossed", 80, str(month.first))]


async def test_what_the_old_month_had_reached_is_shown_by_nobody(api: Api, usage_db: ServiceDatabase) -> None:
    old = this_month().begins(UTC) - timedelta(days=3)
    await api.moved(granted(1, 100, traffic=100, at=old), moved(1, 96, at=old))
    assert [what for what, _, _ in await events(usage_db, "traffic")] == ["crossed", "crossed"]
    assert {i["state"] for i in (await api.get(f"{PATH}?metric=traffic"))[1]["items"]} == {"armed"}
    assert (await check(api, "traffic", 100))["allowed"] is True


async def test_two_writers_ring_once_and_never_wait_in_a_circle(worker_db: Database, usage_db: ServiceDatabase) -> None:
    """Each batch has files of one tenant and traffic of others, in any order; the sums and alerts are exact."""
    tenants = [UUID(int=n) for n in range(1, 9)]
    chance = random.Random(5)
    batches = [[granted(1, 1000, traffic=1000, images=40, tenant=t) for t in tenants]]
    for n in range(1, 61):
        chosen = chance.sample(tenants, 5)
        batches.append([stored(n, 0, tenant=chosen[0]), *(moved(n, 40, tenant=tenant) for tenant in chosen[1:])])
    counters = CounterService(ThresholdService(), SystemClock())

    async def apply(batch: list[Record]) -> None:
        async with worker_db.transaction() as connection:
            await counters.apply(connection, batch)

    await apply(batches[0])
    async with asyncio.timeout(60):
        for start in range(1, len(batches), 6):
            await asyncio.gather(*(apply(batch) for batch in batches[start : start + 6]))
    counts = Counter(record.tenant_id for batch in batches[1:] for record in batch[1:])
    rows = await query(usage_db.superuser, "SELECT tenant_id, traffic_in + traffic_out AS sum FROM tenant_month")
    assert {row["tenant_id"]: row["sum"] for row in rows} == {tenant: 40 * n for tenant, n in counts.items()}
    alerts = await query(usage_db.superuser, "SELECT tenant_id, value, period FROM alert WHERE metric = 'traffic'")
    expected = {(t, p) for t, n in counts.items() for p in (80, 95, 100) if 40 * n * 100 >= p * 1000}
    assert Counter((row["tenant_id"], row["value"]) for row in alerts) == Counter(expected)
    assert len(expected) > 8
    told_of = await query(usage_db.superuser, "SELECT count(*) AS n FROM outbox_event")
    assert told_of[0]["n"] == len(expected)


async def test_the_sweep_finds_nothing_unless_the_inline_way_is_broken(
    worker_db: Database, usage_db: ServiceDatabase
) -> None:
    clock = FixedClock(now())
    counters = CounterService(ThresholdService(), clock)
    async with worker_db.transaction() as connection:
        await counters.apply(connection, [granted(1, 100, traffic=100, images=10), moved(1, 85), image(1)])
    sweep = Sweep(worker_db, counters, clock)
    assert await sweep.run() == (1, 0)
    await query(usage_db.superuser, "UPDATE tenant_month SET traffic_out = 95, images = 9")
    assert await sweep.run() == (1, 1)
    assert await sweep.run() == (1, 0)
    assert [level for _, level, _ in await events(usage_db, "traffic")] == [80, 95]
    assert [level for _, level, _ in await events(usage_db, "images")] == [80]


async def test_the_sweep_begins_the_month(worker_db: Database, usage_db: ServiceDatabase) -> None:
    clock = FixedClock(now())
    counters = CounterService(ThresholdService(), clock)
    async with worker_db.transaction() as connection:
        await counters.apply(connection, [granted(1, 100, traffic=100), moved(1, 85)])
    clock.advance(this_month().next.begins(UTC) - clock.now() + timedelta(hours=6))
    assert await Sweep(worker_db, counters, clock).run() == (1, 0)
    assert await events(usage_db, "traffic") == [
        ("crossed", 80, str(this_month().first)),
        ("cleared", 80, str(this_month().first)),
    ]
    async with worker_db.transaction() as connection:
        await counters.apply(connection, [moved(2, 500), moved(3, 80, at=clock.now())])
    assert (await events(usage_db, "traffic"))[2:] == [("crossed", 80, str(this_month().next.first))], (
        "late ones ring nothing"
    )


@pytest.mark.parametrize("metric", ["traffic", "images", "requests", "disk"])
async def test_only_managers_choose_and_strangers_see_nothing(api: Api, metric: str) -> None:
    body = {"metric": metric, "items": [{"amount": 5}]}
    assert (await api.call("PUT", PATH, body, as_=person(role="member")))[0] == 403
    assert (await api.call("PUT", PATH, body))[0] == 200
    other = (await api.get(f"{PATH}?metric={metric}", tenant=uuid4()))[1]
    assert other["own"] is False
