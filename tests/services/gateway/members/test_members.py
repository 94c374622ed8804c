"""People of a tenant: who may change them, what the plan allows, and what they lose at once."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.fixtures.postgres import ServiceDatabase
from tests.services.gateway.harness import Gateway, Person, running_gateway
from tests.services.gateway.plans import FREE, allow, as_, entitlements_of, told_of


@pytest.fixture
async def ada(gateway: Gateway) -> Person:
    return await gateway.sign_up("Harbour")


def members_of(person: Person, user: str = "") -> str:
    return f"/api/tenants/{person.tenant['slug']}/members" + (f"/{user}" if user else "")


async def add(gateway: Gateway, owner: Person, person: Person, role: str = "member") -> Any:
    return await as_(gateway, owner, "POST", members_of(owner), {"email": person.email, "role": role})


async def test_somebody_is_added_changed_and_removed(gateway: Gateway, ada: Person) -> None:
    bob = await gateway.sign_up()
    allow(gateway, ada, members=5)
    status, added = await as_(gateway, ada, "POST", members_of(ada), {"email": bob.email.upper()})
    assert (status, added["user_id"], added["email"], added["role"]) == (201, bob.user["id"], bob.email, "member")
    status, page = await as_(gateway, bob, "GET", members_of(ada))
    assert (status, [m["role"] for m in page["items"]]) == (200, ["owner", "member"])
    one = members_of(ada, bob.user["id"])
    for _ in range(2):  # the second changes nothing
        status, changed = await as_(gateway, ada, "PATCH", one, {"role": "admin"})
        assert (status, changed["role"]) == (200, "admin")
    assert (await as_(gateway, ada, "DELETE", one))[0] == 204
    assert (await as_(gateway, ada, "DELETE", one))[1]["code"] == "member_not_found"
    told = await told_of(gateway, ada.tenant["id"])
    assert [(e["type"], e["members"], e.get("user_id"), e.get("role")) for e in told] == [
        ("tenant.created", 1, None, None),
        ("member.added", 2, bob.user["id"], "member"),
        ("member.changed", 2, bob.user["id"], "admin"),
        ("member.removed", 1, bob.user["id"], "admin"),
    ]
    assert {(e["slug"], e["owner_email"], e["projects"]) for e in told} == {("harbour", ada.email, 0)}


async def test_the_list_has_pages(gateway: Gateway, ada: Person) -> None:
    allow(gateway, ada)
    people = [ada, *[await gateway.sign_up() for _ in range(3)]]
    for person in people[1:]:
        assert (await add(gateway, ada, person))[0] == 201
    _, first = await as_(gateway, ada, "GET", f"{members_of(ada)}?limit=3")
    _, second = await as_(gateway, ada, "GET", f"{members_of(ada)}?limit=3&cursor={first['next_cursor']}")
    assert second["next_cursor"] is None
    seen = [member["user_id"] for page in (first, second) for member in page["items"]]
    assert seen == [person.user["id"] for person in people]
    assert (await as_(gateway, ada, "GET", f"{members_of(ada)}?cursor=bm9wZQ"))[0] == 422


async def test_the_second_member_of_a_free_team(gateway: Gateway, ada: Person) -> None:
    bob = await gateway.sign_up()
    allow(gateway, ada, **FREE)
    status, body = await add(gateway, ada, bob)
    assert (status, body["code"], body["limit"], body["used"]) == (403, "plan_limit_members", 1, 1)
    assert body["upgrade_url"] == "/app/plans"
    assert len(await told_of(gateway, ada.tenant["id"])) == 1


async def test_as_many_as_there_are_seats_however_many_come_at_once(gateway: Gateway, ada: Person) -> None:
    allow(gateway, ada, members=5)
    people = [await gateway.sign_up() for _ in range(16)]
    answers = await asyncio.gather(*(add(gateway, ada, people[n % 16]) for n in range(64)))
    codes = [body.get("code") for status, body in answers if status != 201]
    assert len(answers) - len(codes) == 4
    assert set(codes) <= {"plan_limit_members", "member_exists"}
    assert [e["members"] for e in await told_of(gateway, ada.tenant["id"])] == [1, 2, 3, 4, 5]
    _, page = await as_(gateway, ada, "GET", members_of(ada))
    assert len(page["items"]) == 5


async def test_what_the_plan_allows_must_be_known(gateway: Gateway, ada: Person) -> None:
    bob = await gateway.sign_up()
    status, body = await add(gateway, ada, bob)  # billing answers nonsense
    assert (status, body["code"]) == (503, "entitlements_unknown")
    allow(gateway, ada, members=2)
    assert (await add(gateway, ada, bob))[0] == 201
    asked = len([seen for seen in gateway.stub.seen if seen.path == entitlements_of(ada)])
    carl = await gateway.sign_up()
    assert (await add(gateway, ada, carl))[1]["code"] == "plan_limit_members"
    assert len([seen for seen in gateway.stub.seen if seen.path == entitlements_of(ada)]) == asked, "asked once"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"email": "nobody@example.test"}, 404, "person_not_found"),
        ({"email": "nonsense"}, 422, "email_invalid"),
        ({"email": "nobody@example.test", "role": "owner"}, 422, "invalid_request"),
        ({"email": "nobody@example.test", "is_admin": True}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
    ],
)
async def test_nobody_can_be_added_so(gateway: Gateway, ada: Person, body: Any, status: int, code: str) -> None:
    allow(gateway, ada)
    found = await as_(gateway, ada, "POST", members_of(ada), body)
    assert (found[0], found[1]["code"]) == (status, code)


async def test_the_owner_stays(gateway: Gateway, ada: Person) -> None:
    bob = await gateway.sign_up()
    allow(gateway, ada)
    await add(gateway, ada, bob, "admin")
    assert (await add(gateway, bob_in(bob, ada), bob))[1]["code"] == "member_exists"
    owner = members_of(ada, ada.user["id"])
    for person in (ada, bob):
        for method, body in (("DELETE", None), ("PATCH", {"role": "member"})):
            status, found = await as_(gateway, person, method, owner, body)
            assert (status, found["code"]) == (409, "owner_stays")


def bob_in(bob: Person, team: Person) -> Person:
    """The same person, who means another's team."""
    return Person(bob.email, bob.access, bob.refresh, bob.user, team.tenant)


async def test_only_managers_change_and_strangers_find_nothing(gateway: Gateway, ada: Person) -> None:
    bob, eve = await gateway.sign_up(), await gateway.sign_up()
    for person in (ada, bob, eve):
        allow(gateway, person)
    await add(gateway, ada, bob)
    slug = ada.tenant["slug"]
    doors = [
        ("POST", members_of(ada), {"email": eve.email}),
        ("PATCH", members_of(ada, bob.user["id"]), {"role": "admin"}),
        ("DELETE", members_of(ada, bob.user["id"]), None),
        ("PATCH", f"/api/tenants/{slug}", {"name": "Mine"}),
        ("GET", members_of(ada), None),
        ("GET", f"/api/tenants/{slug}", None),
    ]
    for method, path, body in doors:
        status, found = await as_(gateway, bob, method, path, body)
        assert (status, method == "GET" or found["code"]) in {(200, True), (403, "not_the_manager")}, path
        assert (status == 200) == (method == "GET")
        status, found = await as_(gateway, eve, method, path, body)
        assert (status, found["code"]) == (404, "tenant_not_found")
        assert (await gateway.call(method, path, json=body))[0] == 401
    unknown = members_of(ada, str(uuid4()))
    assert (await as_(gateway, ada, "DELETE", unknown))[1]["code"] == "member_not_found"
    assert [e["type"] for e in await told_of(gateway, ada.tenant["id"])] == ["tenant.created", "member.added"]


async def test_who_is_removed_loses_the_team_at_once(
    gateway: Gateway, gateway_db: ServiceDatabase, ada: Person, tmp_path: Path
) -> None:
    """In each process of the gateway, though both keep who belongs where for half a minute; and the open page ends."""
    bob = await gateway.sign_up()
    allow(gateway, ada)
    slug = {"x-tenant": ada.tenant["slug"]}
    async with running_gateway(gateway_db, tmp_path) as second:
        for door in (gateway, second):
            assert (await as_(door, bob, "GET", "/api/notifications", **slug))[0] == 404
        await add(gateway, ada, bob, "admin")
        for door in (gateway, second):
            async with asyncio.timeout(3):
                while (await as_(door, bob, "GET", "/api/notifications", **slug))[0] != 200:
                    await asyncio.sleep(0.02)
        url = f"{second.url}/api/events"
        async with second.http.get(url, headers={**bob.bearer, **slug}) as stream:
            await stream.content.readline()
            assert (await as_(gateway, ada, "DELETE", members_of(ada, bob.user["id"])))[0] == 204
            assert (await as_(gateway, bob, "GET", "/api/notifications", **slug))[0] == 404, "no wait where it was done"
            async with asyncio.timeout(3):
                while (await as_(second, bob, "GET", "/api/notifications", **slug))[0] != 404:
                    await asyncio.sleep(0.02)
                while await stream.content.readline():
                    pass
        assert (await as_(gateway, bob, "GET", "/api/usage/summary", **slug))[0] == 404
        assert [t["slug"] for t in (await as_(second, bob, "GET", "/api/tenants"))[1]["items"]] == [bob.tenant["slug"]]
