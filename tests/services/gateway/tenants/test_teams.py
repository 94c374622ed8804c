"""Teams that people make and change."""

import asyncio
from typing import Any

import pytest

from tests.services.gateway.harness import Gateway, Person
from tests.services.gateway.plans import FREE, allow, as_, told_of


@pytest.fixture
async def ada(gateway: Gateway) -> Person:
    return await gateway.sign_up("Harbour")


async def make(gateway: Gateway, person: Person, name: str = "Second", **more: str) -> Any:
    return await as_(gateway, person, "POST", "/api/tenants", {"name": name, **more})


async def test_a_team_is_changed_and_tells_it(gateway: Gateway, ada: Person) -> None:
    path = "/api/tenants/harbour"
    status, found = await as_(gateway, ada, "GET", path)
    assert (status, found["timezone"], found["members"], found["projects"]) == (200, "UTC", 1, 0)
    changed = {"name": "Port", "timezone": "Asia/Tokyo", "locale": "ja"}
    for body in (changed, {}, changed):
        status, found = await as_(gateway, ada, "PATCH", path, body)
        assert (status, {**found, **changed}) == (200, found)
    assert found["slug"] == "harbour"
    told = await told_of(gateway, ada.tenant["id"])
    assert [(e["type"], e["name"], e["timezone"], e["locale"]) for e in told] == [
        ("tenant.created", "Harbour", "UTC", "en"),
        ("tenant.updated", "Port", "Asia/Tokyo", "ja"),
    ]
    for body, code in (
        ({"timezone": "Mars/Olympus"}, "timezone_unknown"),
        ({"timezone": "../etc/passwd"}, "timezone_unknown"),
        ({"name": "  "}, "name_invalid"),
        ({"slug": "other"}, "invalid_request"),
    ):
        status, found = await as_(gateway, ada, "PATCH", path, body)
        assert (status, found["code"]) == (422, code)


async def test_the_plan_of_the_first_team_says_how_many_more(gateway: Gateway, ada: Person) -> None:
    allow(gateway, ada, teams=3)
    status, second = await make(gateway, ada, timezone="Europe/Paris", locale="fr")
    assert (status, second["slug"], second["timezone"], second["members"]) == (201, "second", "Europe/Paris", 1)
    assert (await make(gateway, ada))[1]["slug"] == "second-2"
    status, body = await make(gateway, ada)
    assert (status, body["code"], body["limit"], body["used"]) == (403, "plan_limit_teams", 3, 3)
    _, page = await as_(gateway, ada, "GET", "/api/tenants")
    assert [(t["slug"], t["role"]) for t in page["items"]] == [
        ("harbour", "owner"),
        ("second", "owner"),
        ("second-2", "owner"),
    ]
    [created] = await told_of(gateway, second["id"])
    assert (created["type"], created["owner_email"], created["members"]) == ("tenant.created", ada.email, 1)
    assert (await as_(gateway, ada, "GET", "/api/projects", **{"x-tenant": "second"}))[0] == 200


async def test_the_second_team_of_somebody_on_free(gateway: Gateway, ada: Person) -> None:
    allow(gateway, ada, **FREE)
    assert (await make(gateway, ada))[1]["code"] == "plan_limit_teams"


async def test_two_of_sixteen_at_once(gateway: Gateway, ada: Person) -> None:
    allow(gateway, ada, teams=3)
    answers = await asyncio.gather(*(make(gateway, ada) for _ in range(16)))
    assert sorted(status for status, _ in answers) == [201] * 2 + [403] * 14


async def test_teams_of_others_do_not_count(gateway: Gateway, ada: Person) -> None:
    bob = await gateway.sign_up()
    allow(gateway, ada)
    allow(gateway, bob, teams=2)
    path = "/api/tenants/harbour/members"
    assert (await as_(gateway, ada, "POST", path, {"email": bob.email, "role": "admin"}))[0] == 201
    assert (await make(gateway, bob, "Bobs"))[0] == 201
    assert (await make(gateway, bob, "More"))[1]["code"] == "plan_limit_teams"


async def test_unknown_is_refused(gateway: Gateway, ada: Person) -> None:
    assert (await make(gateway, ada))[0] == 503
    assert (await gateway.call("POST", "/api/tenants", json={"name": "x"}))[0] == 401
