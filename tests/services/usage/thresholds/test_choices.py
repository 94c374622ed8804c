"""Thresholds of a tenant's own, judged at once, and what they allow."""

import asyncio
from typing import Any

import pytest

from shared.security.principal import Role
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.api import SERVICE, Api, person, serving
from tests.services.usage.samples import TENANT, deleted, granted, stored

PATH = "/api/usage/thresholds"


async def choose(api: Api, *items: dict[str, Any]) -> Any:
    status, body = await api.call("PUT", PATH, {"items": list(items)})
    assert status == 200, body
    return body


async def events(dsn: ServiceDatabase) -> list[Any]:
    rows = await query(
        dsn.superuser,
        "SELECT type, body::jsonb ->> 'percent' AS percent, "
        "body::jsonb ->> 'amount' AS amount FROM outbox_event ORDER BY seq",
    )
    return [(row["type"].split(".")[1], (row["percent"] and f"{row['percent']}%") or row["amount"]) for row in rows]


async def test_usual_ones_until_others_are_chosen(api: Api) -> None:
    _, usual = await api.get(PATH)
    assert (usual["own"], [item["percent"] for item in usual["items"]]) == (False, [80, 95, 100])
    own = await choose(api, {"percent": 50, "channels": ["note"]}, {"amount": 70, "hard": True})
    assert (own["own"], [(i["percent"], i["amount"], i["hard"], i["channels"]) for i in own["items"]]) == (
        True,
        [(50, None, False, ["note"]), (None, 70, True, ["note", "mail"])],
    )
    assert (await api.get(PATH))[1]["items"] == own["items"]
    assert (await api.get("/api/usage/summary"))[1]["thresholds"] == own["items"]
    status, again = await api.call("DELETE", PATH)
    assert (status, again["own"], again["items"]) == (200, False, usual["items"])


async def test_judged_at_once_and_counted_by_from_then_on(api: Api, usage_db: ServiceDatabase) -> None:
    await api.apply(granted(1, 100), stored(1, 85))
    body = await choose(api, {"percent": 50}, {"amount": 85}, {"amount": 86})
    assert [item["state"] for item in body["items"]] == ["reached", "reached", "armed"]
    assert await events(usage_db) == [("crossed", "80%"), ("crossed", "50%"), ("crossed", "85"), ("cleared", "80%")]
    await api.apply(stored(2, 10))
    assert (await events(usage_db))[4:] == [("crossed", "86")], "95 % is none of theirs"
    await api.apply(deleted(3, 85))
    assert (await events(usage_db))[5:] == [("cleared", "86"), ("cleared", "85"), ("cleared", "50%")]
    _, alerts = await api.get("/api/usage/alerts?metric=storage")
    assert {(a["percent"], a["amount"]) for a in alerts["items"]} == {(80, None), (50, None), (None, 85), (None, 86)}
    assert all(a["cleared_at"] for a in alerts["items"])


async def test_back_to_the_usual_ones_rings_for_what_stands(api: Api, usage_db: ServiceDatabase) -> None:
    await api.apply(granted(1, 100))
    await choose(api)
    await api.apply(stored(1, 100))
    assert await events(usage_db) == []
    await api.call("DELETE", PATH)
    assert await events(usage_db) == [("crossed", "80%"), ("crossed", "95%"), ("crossed", "100%")]


async def test_an_amount_rings_in_an_unlimited_plan(api: Api, usage_db: ServiceDatabase) -> None:
    await api.apply(granted(1, None))
    await choose(api, {"amount": 10**12})
    await api.apply(stored(1, 10**12))
    assert await events(usage_db) == [("crossed", str(10**12))]
    _, alerts = await api.get("/api/usage/alerts")
    assert [(a["amount"], a["limit"]) for a in alerts["items"]] == [(10**12, None)]


async def test_slack_keeps_it_quiet_around_the_threshold(usage_db: ServiceDatabase, worker_db: Any) -> None:
    async with serving(usage_db, worker_db, threshold_slack=10) as api:
        await api.apply(granted(1, 100), stored(1, 79), stored(2, 2))
        await choose(api, {"percent": 80})
        for percent in (75, 79):
            await choose(api, {"percent": 80}, {"percent": percent})
        assert [kind for kind, level in await events(usage_db) if level == "80%"] == ["crossed"]
        # The worker of this test has no slack: only what this process judges is kept quiet.
        async with worker_db.transaction() as connection:
            await connection.execute("UPDATE tenant_usage SET bytes = 71 WHERE tenant_id = $1", TENANT)
        await choose(api, {"percent": 80})
        assert [kind for kind, level in await events(usage_db) if level == "80%"] == ["crossed"]
        async with worker_db.transaction() as connection:
            await connection.execute("UPDATE tenant_usage SET bytes = 69 WHERE tenant_id = $1", TENANT)
        await choose(api, {"percent": 80}, {"percent": 100})
        assert [kind for kind, level in await events(usage_db) if level == "80%"] == ["crossed", "cleared"]


async def test_many_choices_at_once_end_as_one_of_them(api: Api, usage_db: ServiceDatabase) -> None:
    await api.apply(granted(1, 100), stored(1, 60))
    await asyncio.gather(*(choose(api, {"percent": percent}) for percent in range(40, 60)))
    _, body = await api.get(PATH)
    assert [item["state"] for item in body["items"]] == ["reached"]
    rang = await events(usage_db)
    assert len([kind for kind, _ in rang if kind == "crossed"]) == 20
    last = f"{body['items'][0]['percent']}%"
    assert [level for _, level in rang].count(last) == 1
    assert len([kind for kind, _ in rang if kind == "cleared"]) == 19


@pytest.mark.parametrize(
    "items",
    [
        [{}],
        [{"percent": 80, "amount": 5}],
        [{"percent": 0}],
        [{"percent": 201}],
        [{"amount": 0}],
        [{"amount": 2**63}],
        [{"percent": 80}, {"percent": 80, "hard": True}],
        [{"percent": 80, "channels": ["fax"]}],
        [{"percent": n} for n in range(1, 22)],
        [{"percent": 80, "more": 1}],
    ],
)
async def test_what_is_no_threshold(api: Api, items: list[Any]) -> None:
    status, body = await api.call("PUT", PATH, {"items": items})
    assert (status, body["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(("role", "status"), [("member", 403), ("admin", 200), ("owner", 200)])
async def test_only_managers_choose(api: Api, role: Role, status: int) -> None:
    for method, body in (("PUT", {"items": [{"percent": 5}]}), ("DELETE", None)):
        assert (await api.call(method, PATH, body, as_=person(role=role)))[0] == status


async def test_check(api: Api) -> None:
    await api.apply(granted(1, 100), stored(1, 60))

    async def ask(amount: int) -> Any:
        status, body = await api.call("POST", "/api/usage/check", {"metric": "storage", "amount": amount})
        assert status == 200, body
        inside = await api.call(
            "POST", f"/internal/usage/{TENANT}/check", {"metric": "storage", "amount": amount}, as_=SERVICE
        )
        assert {**inside[1], "as_of": 0} == {**body, "as_of": 0}
        return body

    fits = await ask(40)
    assert (fits["allowed"], fits["used"], fits["limit"], fits["remaining"], fits["position"]) == (True, 60, 100, 40, 1)
    assert (await ask(41))["allowed"] is False
    await choose(api, {"percent": 80}, {"percent": 75, "hard": True})
    assert [(await ask(n))["allowed"] for n in (15, 16)] == [True, False]
    assert (await ask(0))["remaining"] == 15
    await choose(api, {"percent": 50, "hard": True})
    assert ((await ask(0))["allowed"], (await ask(1))["allowed"], (await ask(1))["remaining"]) == (True, False, 0)
    await api.apply(granted(2, None))
    assert ((await ask(2**50))["allowed"], (await ask(1))["remaining"]) == (True, None)


@pytest.mark.parametrize(
    "body", [{}, {"metric": "storage"}, {"metric": "storage", "amount": -1}, {"metric": "x", "amount": 1}]
)
async def test_what_cannot_be_checked(api: Api, body: Any) -> None:
    assert (await api.call("POST", "/api/usage/check", body))[0] == 422


async def test_what_is_not_known_is_not_allowed(api: Api) -> None:
    api.billing.terms = None
    status, body = await api.call("POST", "/api/usage/check", {"metric": "storage", "amount": 0})
    assert (status, body["code"]) == (503, "entitlements_unknown")


@pytest.mark.parametrize(
    ("used", "status", "within"),
    [(79, "ok", True), (80, "warning", True), (95, "critical", True), (100, "full", False)],
)
async def test_limits(api: Api, used: int, status: str, within: bool) -> None:
    await api.apply(granted(1, 100), stored(1, used))
    _, body = await api.get("/api/usage/limits")
    assert (body["within"], body["position"]) == (within, 1)
    storage = body["items"][0]
    assert (storage["used"], storage["limit"], storage["remaining"], storage["status"]) == (
        used,
        100,
        100 - used,
        status,
    )
    inside = (await api.get(f"/internal/usage/{TENANT}/limits", as_=SERVICE))[1]
    assert inside["items"] == body["items"]
    assert (await api.get(f"/internal/usage/{TENANT}/limits"))[0] == 404, "internal routes do not exist for people"
