"""The HTTP process, as the gateway meets it."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.usage.live.service import CHANNEL
from shared.outbox import Wake
from shared.security import Principal
from tests.services.usage.api import SERVICE, Api
from tests.services.usage.samples import (
    KINDS,
    PROJECTS,
    START,
    TENANT,
    File,
    deleted,
    granted,
    stored,
    traffic,
    trashed,
)


async def test_summary(api: Api) -> None:
    await api.apply(
        granted(1, 100),
        stored(1, 60),
        stored(2, 25, KINDS[2]),
        stored(3, 5, KINDS[1]),
        deleted(4, 5, KINDS[1]),
        trashed(5, File(25, KINDS[2])),
    )
    status, body = await api.get("/api/usage/summary")
    assert status == 200
    assert body["storage"] == {
        "used": 85,
        "limit": 100,
        "available": 15,
        "percentage": 85.0,
        "files": 2,
        "trashed_bytes": 25,
        "trashed_files": 1,
        "version_bytes": 0,
        "version_files": 0,
        "used_formatted": "85 Bytes",
        "limit_formatted": "100 Bytes",
    }
    assert (body["position"], body["plan"], body["tier"], body["version"]) == (5, "free", "free", 1)
    assert [(p["file_type"], p["category"], p["percentage"]) for p in body["breakdown"]] == [
        ("image", "avatars", 70.59),
        ("document", "leases", 29.41),
    ]
    assert [(item["percent"], item["state"]) for item in body["thresholds"]] == [
        (80, "reached"),
        (95, "armed"),
        (100, "armed"),
    ]


async def test_a_new_tenant_has_an_answer_at_once(api: Api) -> None:
    status, body = await api.get("/api/usage/summary")
    assert (status, body["storage"]["used"], body["storage"]["limit"], body["breakdown"]) == (200, 0, 100, [])


async def test_unlimited_has_no_percentage(api: Api) -> None:
    await api.apply(granted(1, None), stored(1, 60))
    _, body = await api.get("/api/usage/summary")
    assert [body["storage"][name] for name in ("limit", "available", "percentage", "limit_formatted")] == [None] * 4


async def test_unknown_is_said_and_never_guessed(api: Api) -> None:
    api.billing.terms = None
    await api.apply(stored(1, 60))
    for path in ("summary", "thresholds", "limits", "proof"):
        status, body = await api.get(f"/api/usage/{path}")
        assert (status, body["code"]) == (503, "entitlements_unknown")


async def test_alerts_newest_first_in_pages(api: Api) -> None:
    await api.apply(granted(1, 100), stored(1, 96), deleted(2, 96), stored(3, 85))
    seen, cursor, told = [], "", []
    for _ in range(3):
        status, body = await api.get(f"/api/usage/alerts?limit=1{cursor}")
        assert status == 200
        seen += [(item["percent"], item["used"], item["cleared_at"] is not None) for item in body["items"]]
        told += [(item["speaks"], item["hard"], body["position"]) for item in body["items"]]
        cursor = f"&cursor={body['next_cursor']}"
    assert told == [(True, False, 3), (False, False, 3), (False, False, 3)]
    assert seen == [(80, 85, False), (95, 96, True), (80, 96, True)]
    assert body["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsMiwzXQ"])
async def test_a_cursor_that_is_not_ours(api: Api, cursor: str) -> None:
    status, body = await api.get(f"/api/usage/alerts?cursor={cursor}")
    assert (status, body["code"]) == (422, "invalid_cursor")


async def test_thresholds(api: Api) -> None:
    await api.apply(granted(1, 100), stored(1, 96))
    _, body = await api.get("/api/usage/thresholds")
    assert [(item["percent"], item["state"]) for item in body["items"]] == [
        (80, "reached"),
        (95, "reached"),
        (100, "armed"),
    ]
    assert body["position"] == 1


async def test_proof(api: Api) -> None:
    await api.apply(granted(1, 100), stored(1, 10), stored(2, 10))
    status, body = await api.get("/api/usage/proof")
    assert (status, body["equal"], body["position"]) == (200, True, 2)
    assert body["ledger"] == body["counters"] == {"bytes": 20, "files": 2}
    assert (body["store"]["bytes"], body["store"]["missing"]) == (20, [])
    api.ledger.lost = 1
    _, body = await api.get("/api/usage/proof")
    assert body["equal"] is False
    api.ledger.reachable = False
    status, body = await api.get("/api/usage/proof")
    assert (status, body["code"]) == (503, "ledger_unreachable")


async def test_waiting_ends_with_the_commit(api: Api) -> None:
    await api.apply(granted(1, 100))
    waiting = asyncio.create_task(api.get(f"/internal/usage/{TENANT}/wait?after=0", as_=SERVICE))
    await asyncio.sleep(0.2)
    await api.apply(stored(1, 10))
    Wake(api.worker, CHANNEL).set(str(TENANT))
    async with asyncio.timeout(5):
        status, body = await waiting
    assert (status, body["position"], body["storage"]["used"]) == (200, 1, 10)
    status, body = await api.get(f"/internal/usage/{TENANT}/wait?after=1&timeout=0.1", as_=SERVICE)
    assert (status, body["position"]) == (200, 1)


async def test_alerts_stream_can_be_fetched_by_services(api: Api) -> None:
    await api.apply(granted(1, 100), stored(1, 85))
    status, body = await api.get(f"/internal/outbox/alerts.v1/{TENANT}?after=0", as_=SERVICE)
    assert (status, [item["type"] for item in body["items"]]) == (200, ["threshold.crossed"])


async def test_the_summary_for_sister_services(api: Api) -> None:
    await api.apply(granted(1, 100), stored(1, 85))
    status, body = await api.get(f"/internal/usage/{TENANT}/summary", as_=SERVICE)
    assert (status, body["position"], body["storage"]["used"], body["storage"]["limit"]) == (200, 1, 85, 100)


async def test_another_tenant_sees_nothing_of_it(api: Api) -> None:
    await api.apply(granted(1, 100), stored(1, 85))
    other = uuid4()
    assert (await api.get("/api/usage/summary", tenant=other))[1]["storage"]["used"] == 0
    assert (await api.get("/api/usage/alerts", tenant=other))[1]["items"] == []
    internal = (f"/internal/usage/{TENANT}/wait?after=0", f"/internal/usage/{TENANT}/summary")
    for path in (*internal, f"/internal/outbox/alerts.v1/{TENANT}"):
        assert (await api.get(path))[0] == 404, "internal routes do not exist for people"


async def test_without_the_internal_token_nothing_is_answered(api: Api) -> None:
    for path in ("/api/usage/summary", "/api/usage/alerts", "/api/usage/proof", f"/internal/usage/{TENANT}/wait"):
        async with api.http.get(api.url + path) as response:
            assert response.status == 401
    assert (await api.get("/api/usage/summary", as_=Principal()))[0] == 401
    person = Principal(kind="user", user_id=uuid4())
    assert (await api.get("/api/usage/summary", as_=person))[1]["code"] == "tenant_required"


async def test_health(api: Api) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        async with api.http.get(api.url + path) as response:
            assert response.status == 200


async def test_any_past_moment(api: Api) -> None:
    status, body = await api.get("/api/usage/at?time=1970-01-01T01:00:02%2B01:00")
    assert status == 200
    assert (body["position"], body["used"], body["used_formatted"], body["files"]) == (2, 20, "20 Bytes", 2)
    assert body["breakdown"] == [{"file_type": "image", "category": "avatars", "file_count": 2, "total_size": 20}]
    api.ledger.reachable = False
    assert (await api.get("/api/usage/at?time=1970-01-01T00:00:02Z"))[1]["code"] == "ledger_unreachable"


@pytest.mark.parametrize(
    ("time", "code"),
    [
        ("2999-01-01T00:00:00Z", "in_the_future"),
        ("2026-01-01T00:00:00", "invalid_request"),
        ("yesterday", "invalid_request"),
    ],
)
async def test_no_past_moment(api: Api, time: str, code: str) -> None:
    status, body = await api.get(f"/api/usage/at?time={time}")
    assert (status, body["code"]) == (422, code)


async def test_a_project_s_month(api: Api) -> None:
    project, megabyte = PROJECTS[0], 1024**2
    await api.apply(stored(1, 3 * megabyte, project=project, at=START - timedelta(days=1)))
    await api.moved(traffic(1, START, (project, 1, 1536 * megabyte, 4), (None, 0, 5, 1)))
    march = START.replace(month=2)  # the stretch ends as the month does
    status, body = await api.get(f"/api/usage/projects/{project}?month={march:%Y-%m}")
    assert status == 200
    assert body["created_at"] is not None
    assert body["as_of"] is not None
    assert {name: body[name] for name in body if not name.endswith(("_at", "as_of"))} == {
        "project_id": str(project),
        "position": 1,
        "year": march.year,
        "month": march.month,
        "traffic_bytes": 1536 * megabyte + 1,
        "traffic_mb": 1536.0,
        "traffic_gb": 1.5,
        "traffic_formatted": "1.5 GB",
        "traffic_in": 1,
        "traffic_out": 1536 * megabyte,
        "requests": 4,
        "storage_bytes": 3 * megabyte,
        "storage_mb": 3.0,
        "storage_gb": 0.0,
        "storage_formatted": "3 MB",
        **dict.fromkeys(("files", "trashed_bytes", "trashed_files", "version_bytes", "version_files")),
    }
    status, listed = await api.get(f"/api/usage/projects?month={march:%Y-%m}")
    assert (status, [item["project_id"] for item in listed["items"]]) == (200, [str(project), None])
    for name in ("traffic_bytes", "traffic_in", "traffic_out", "requests", "storage_bytes"):
        assert listed["total"][name] == sum(item[name] for item in listed["items"])


async def test_projects_and_months_that_are_not(api: Api) -> None:
    await api.moved(traffic(1, START, (PROJECTS[0], 1, 1, 1)))
    status, body = await api.get(f"/api/usage/projects/{PROJECTS[0]}?month=2030-01")
    assert (status, body["traffic_bytes"], body["month"], body["created_at"]) == (200, 0, 1, None)
    foreign = await api.get(f"/api/usage/projects/{PROJECTS[0]}", tenant=uuid4())
    unknown = await api.get(f"/api/usage/projects/{uuid4()}")
    assert [(status, body["code"]) for status, body in (foreign, unknown)] == [(404, "project_not_found")] * 2
    for month in ("2026-13", "2026-1", "march", ""):
        assert (await api.get(f"/api/usage/projects?month={month}"))[0] == 422, month


async def test_the_summary_tells_the_month_s_traffic(api: Api) -> None:
    now = datetime.now(UTC)
    await api.moved(
        traffic(1, now, (PROJECTS[0], 1, 10, 2), (None, 3, 30, 1)),
        traffic(2, now.replace(year=now.year - 1), (None, 500, 500, 500)),
        traffic(1, now, (None, 900, 900, 900), tenant=uuid4()),
    )
    _, body = await api.get("/api/usage/summary")
    assert body["traffic"] == {"month": f"{now:%Y-%m}", "bytes_in": 4, "bytes_out": 40, "bytes": 44, "requests": 3}
