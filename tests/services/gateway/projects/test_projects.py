"""Projects of a tenant, as far as its plan has them."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.services.gateway.harness import Gateway, Person
from tests.services.gateway.plans import FREE, allow, as_, told_of

PATH = "/api/projects"


@pytest.fixture
async def ada(gateway: Gateway) -> Person:
    found = await gateway.sign_up("Harbour")
    allow(gateway, found, **FREE)
    return found


async def make(gateway: Gateway, person: Person, name: str) -> Any:
    return await as_(gateway, person, "POST", PATH, {"name": name})


async def test_they_are_made_listed_and_deleted(gateway: Gateway, ada: Person) -> None:
    status, first = await make(gateway, ada, "  Web   site ")
    assert (status, first["name"]) == (201, "Web site")
    _, second = await make(gateway, ada, "App")
    _, page = await as_(gateway, ada, "GET", f"{PATH}?limit=1")
    assert page["items"] == [first]
    _, page = await as_(gateway, ada, "GET", f"{PATH}?limit=1&cursor={page['next_cursor']}")
    assert (page["items"], page["next_cursor"]) == ([second], None)
    assert (await as_(gateway, ada, "DELETE", f"{PATH}/{first['id']}"))[0] == 204
    assert (await as_(gateway, ada, "DELETE", f"{PATH}/{first['id']}"))[1]["code"] == "project_not_found"
    assert [(e["type"], e["projects"], e.get("project_name")) for e in await told_of(gateway, ada.tenant["id"])] == [
        ("tenant.created", 0, None),
        ("project.created", 1, "Web site"),
        ("project.created", 2, "App"),
        ("project.deleted", 1, "Web site"),
    ]


async def test_the_third_project_of_a_free_team(gateway: Gateway, ada: Person) -> None:
    for name in ("a", "b"):
        assert (await make(gateway, ada, name))[0] == 201
    status, body = await make(gateway, ada, "c")
    assert (status, body["code"], body["limit"], body["used"], body["upgrade_url"]) == (
        *(403, "plan_limit_projects", 2, 2),
        "/app/plans",
    )
    _, page = await as_(gateway, ada, "GET", PATH)
    assert (await as_(gateway, ada, "DELETE", f"{PATH}/{page['items'][0]['id']}"))[0] == 204
    assert (await make(gateway, ada, "c"))[0] == 201


async def test_two_of_sixty_four_at_once(gateway: Gateway, ada: Person) -> None:
    answers = await asyncio.gather(*(make(gateway, ada, f"p{n}") for n in range(64)))
    assert sorted(status for status, _ in answers) == [201] * 2 + [403] * 62
    assert [e["projects"] for e in await told_of(gateway, ada.tenant["id"])] == [0, 1, 2]


async def test_names(gateway: Gateway, ada: Person) -> None:
    assert (await make(gateway, ada, "a"))[0] == 201
    assert (await make(gateway, ada, "a"))[1]["code"] == "project_exists"
    for name in (" ", "x" * 121):
        assert (await make(gateway, ada, name))[1]["code"] == "name_invalid"
    assert (await make(gateway, await _other(gateway), "a"))[0] == 201, "another team's names are its own"


async def _other(gateway: Gateway) -> Person:
    found = await gateway.sign_up()
    allow(gateway, found)
    return found


async def test_only_managers_change_and_strangers_find_nothing(gateway: Gateway, ada: Person) -> None:
    allow(gateway, ada, projects=2)
    bob, eve = await gateway.sign_up(), await _other(gateway)
    _, project = await make(gateway, ada, "a")
    path = f"/api/tenants/{ada.tenant['slug']}/members"
    assert (await as_(gateway, ada, "POST", path, {"email": bob.email}))[0] == 201
    team, one = {"x-tenant": ada.tenant["slug"]}, f"{PATH}/{project['id']}"
    assert (await as_(gateway, bob, "GET", PATH, **team))[1]["items"] == [project]
    for method, target, body in (("POST", PATH, {"name": "b"}), ("DELETE", one, None)):
        status, found = await as_(gateway, bob, method, target, body, **team)
        assert (status, found["code"]) == (403, "not_the_manager")
        assert (await as_(gateway, eve, method, target, body, **team))[1]["code"] == "tenant_not_found"
    for target in (one, f"{PATH}/{uuid4()}"):
        assert (await as_(gateway, eve, "DELETE", target))[1]["code"] == "project_not_found"
    assert (await as_(gateway, eve, "GET", PATH))[1]["items"] == []
    assert (await gateway.call("GET", PATH))[0] == 401
