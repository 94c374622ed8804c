from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.usage.months import Month
from services.usage.trends.totals import DailyTotals
from shared.clock import SystemClock
from shared.security import Principal
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.api import SERVICE, Api
from tests.services.usage.samples import TENANT, deleted, stored, traffic

ADMIN = Principal(kind="user", user_id=uuid4(), is_admin=True)


async def fill(api: Api, now: datetime) -> None:
    """100 bytes three hours ago, half of them gone an hour ago; and some traffic just now."""
    first, second = now - timedelta(hours=3), now - timedelta(hours=1)
    for at, record in ((first, stored(1, 50)), (first, stored(2, 50)), (second, deleted(3, 50))):
        await api.apply(replace(record, headers={**record.headers, "ce_time": at.isoformat().encode()}))
    await api.moved(traffic(1, now, (None, 5, 7, 2)))


async def test_the_last_day_by_the_hour(api: Api) -> None:
    now = datetime.now(UTC)
    await fill(api, now)
    status, found = await api.get("/api/usage/history")
    assert status == 200
    assert {name: found[name] for name in ("metric", "unit", "granularity", "timezone", "position")} == {
        "metric": "storage",
        "unit": "bytes",
        "granularity": "hour",
        "timezone": "UTC",
        "position": 3,
    }
    items = found["items"]
    assert 24 <= len(items) <= 25
    assert [set(item) for item in items[:1]] == [{"at", "value", "peak", "average", "byte_seconds"}]
    assert (items[0]["value"], items[-1]["value"]) == (0, 50)
    assert found["total"]["peak"] == 100
    seconds = (datetime.fromisoformat(found["as_of"]) - now).total_seconds()
    exact = 100 * 7200 + 50 * (3600 + seconds)
    assert float(found["total"]["byte_seconds"]) == pytest.approx(exact, abs=0.001)
    assert sum(float(item["byte_seconds"]) for item in items) == pytest.approx(exact, abs=0.001)
    # What a past moment was, as the ledger tells it, is what is said here.
    assert found["from"] == items[0]["at"]


async def test_moved_and_counted(api: Api) -> None:
    now = datetime.now(UTC)
    await fill(api, now)
    for metric, unit, value in (("traffic", "bytes", 12), ("traffic_in", "bytes", 5), ("requests", "requests", 2)):
        status, found = await api.get(f"/api/usage/history?metric={metric}&granularity=day")
        assert (status, found["unit"], found["total"], found["position"]) == (200, unit, {"value": value}, 3)
        assert sum(item["value"] for item in found["items"]) == value
    status, found = await api.get("/api/usage/history?metric=files")
    assert (status, found["total"], found["items"][-1]["value"]) == (200, {"value": 1}, 1)


async def test_another_tenant_s_is_empty_and_services_name_one(api: Api) -> None:
    await fill(api, datetime.now(UTC))
    for path in ("/api/usage/history", "/api/usage/history?metric=traffic"):
        status, found = await api.get(path, tenant=uuid4())
        assert (status, found["total"]["value"]) == (200, 0)
        assert {item["value"] for item in found["items"]} == {0}
    status, found = await api.call("GET", f"/internal/usage/{TENANT}/history?granularity=month", as_=SERVICE)
    assert (status, found["total"]["value"], found["granularity"]) == (200, 50, "month")
    assert (await api.get(f"/internal/usage/{TENANT}/history"))[0] == 404


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("from=2999-01-01T00:00:00Z", "in_the_future"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "range_invalid"),
        ("from=0001-01-01T00:00:00%2B14:00", "history_not_kept"),
        ("to=0001-01-01T00:00:00%2B14:00&granularity=minute", "history_not_kept"),
        ("from={week}&granularity=minute", "range_too_long"),
        ("from=yesterday", "invalid_request"),
        ("from=2026-01-01T00:00:00", "invalid_request"),
        ("granularity=second", "invalid_request"),
        ("metric=images", "invalid_request"),
    ],
)
async def test_what_is_refused(api: Api, asked: str, code: str) -> None:
    week = (datetime.now(UTC) - timedelta(days=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status, answer = await api.get(f"/api/usage/history?{asked.format(week=week)}")
    assert (status, answer["code"]) == (422, code)


async def grown(api: Api, days: int, usage_db: ServiceDatabase, limit: int = 100) -> None:
    """A byte a day, and ten of traffic on each day of the month."""
    now = datetime.now(UTC)
    await query(usage_db.superuser, "ALTER TABLE tenant_usage ADD COLUMN IF NOT EXISTS limits jsonb DEFAULT '{}'")
    for n in range(days):
        at = now - timedelta(days=days - n - 1)
        record = stored(n + 1, 1)
        await api.apply(replace(record, headers={**record.headers, "ce_time": at.isoformat().encode()}))
        await api.moved(traffic(n + 1, at, (None, 4, 6, 1)))
    await query(
        usage_db.superuser,
        "UPDATE tenant_usage SET limit_bytes = $1, entitlements_version = 1,"
        " limits = jsonb_build_object('traffic_bytes_month', $2::bigint)",
        limit,
        10**6,
    )


async def test_forecast(api: Api, usage_db: ServiceDatabase) -> None:
    assert (await api.get("/api/usage/forecast"))[0] in {200, 503}
    await grown(api, 40, usage_db)
    status, found = await api.get("/api/usage/forecast")
    assert status == 200
    today, storage = datetime.now(UTC).date(), found["storage"]
    assert (storage["status"], storage["used"], storage["limit"], storage["per_day"]) == ("will_fill", 40, 100, 1)
    assert storage["day"] in {str(today + timedelta(days=n)) for n in (59, 60, 61)}
    assert storage["earliest"] <= storage["day"] <= storage["latest"]
    month = Month.of(datetime.now(UTC), UTC)
    traffic_ = found["traffic"]
    assert traffic_["limit"] == 10**6
    assert traffic_["status"] == ("will_last" if today.day > 3 else "not_enough_data")
    assert traffic_["reset_at"][:7] == str(Month(month.year + month.month // 12, month.month % 12 + 1))
    await query(usage_db.superuser, "UPDATE tenant_usage SET limit_bytes = 40")
    assert (await api.get("/api/usage/forecast"))[1]["storage"]["status"] == "full"


async def test_forecast_of_a_new_tenant(api: Api) -> None:
    """Its plan is asked for, once."""
    status, found = await api.get("/api/usage/forecast", tenant=uuid4())
    assert (status, found["storage"]["status"], found["storage"]["limit"]) == (200, "not_enough_data", 100)
    api.billing.terms = None
    assert (await api.get("/api/usage/forecast", tenant=uuid4()))[1]["code"] == "entitlements_unknown"


async def test_trends(api: Api) -> None:
    status, answer = await api.call("GET", "/api/admin/usage/trends", as_=ADMIN)
    assert (status, answer["days"], answer["storage"]) == (200, [], None)
    assert (await api.get("/api/admin/usage/trends"))[0] == 403
    now = datetime.now(UTC)
    for n in range(9):
        record = stored(n + 1, 10)
        at = now - timedelta(days=10 - n)
        await api.apply(replace(record, headers={**record.headers, "ce_time": at.isoformat().encode()}))
    await DailyTotals(api.worker, SystemClock()).run_when_due()
    status, answer = await api.call("GET", "/api/admin/usage/trends", as_=ADMIN)
    assert (status, answer["tenants"]) == (200, 1)
    assert answer["storage"]["total"] == answer["storage"]["average"] == answer["days"][-1]["stored_bytes"]
    assert answer["storage"]["trend"] > 100
    assert answer["traffic"] == {"total": 0, "average": 0, "trend": None}
