"""Who has uploaded how much: counted with the files, and summing to the tenant."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings

from shared.security import Principal
from tests.services.usage.api import Api, person
from tests.services.usage.histories import History, histories
from tests.services.usage.samples import (
    PEOPLE,
    TENANT,
    File,
    adjusted,
    deleted,
    granted,
    moved,
    replaced,
    stored,
    trashed,
)

PATH = "/api/usage/users"
ANNA, BERT = PEOPLE


async def everybody(api: Api, limit: int = 50, tenant: UUID = TENANT) -> list[tuple[UUID | None, int, int]]:
    """All pages, as (person, bytes, files)."""
    found, cursor = list[Any](), ""
    while True:
        status, page = await api.get(f"{PATH}?limit={limit}{cursor}", as_=person(tenant, "admin"))
        assert status == 200, page
        found += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sum(item["bytes"] for item in found) == page["bytes"]
    assert sum(item["files"] for item in found) == page["files"]
    assert [item["bytes"] for item in found] == sorted((item["bytes"] for item in found), reverse=True)
    return [(item["user_id"] and UUID(item["user_id"]), item["bytes"], item["files"]) for item in found]


async def test_everything_that_happens_to_a_file(api: Api) -> None:
    await api.apply(granted(1, None), stored(1, 60, by=ANNA), stored(2, 25, by=BERT), stored(3, 5))
    assert await everybody(api) == [(ANNA, 60, 1), (BERT, 25, 1), (None, 5, 1)]
    first, second = File(60, by=ANNA), File(10, by=BERT)
    batch = [replaced(4, first, second, kept=True), stored(5, 60, by=ANNA, version=True), trashed(6, second)]
    for _ in range(3):  # repeats change nothing
        await api.apply(*batch)
    assert await everybody(api) == [(ANNA, 60, 1), (BERT, 35, 2), (None, 5, 1)], "versions and trash are still theirs"
    await api.apply(moved(7, File(25, by=BERT), File(25, by=BERT, project=TENANT)))
    assert await everybody(api) == [(ANNA, 60, 1), (BERT, 35, 2), (None, 5, 1)]
    await api.apply(deleted(8, 60, by=ANNA, version=True), deleted(9, 10, by=BERT, trashed=True), deleted(10, 5))
    assert await everybody(api) == [(BERT, 25, 1)]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(history=histories())
async def test_they_hold_what_is_there(api: Api, history: History) -> None:
    tenant = uuid4()  # each example on the same database
    for entry in history.ledger:
        entry.tenant_id = tenant
    await api.apply(granted(1, None, tenant=tenant), *history.ledger[: len(history.ledger) // 2])
    await api.apply(*history.ledger)
    expected = {}
    for by in (*PEOPLE, None):
        mine = [file.size for file in history.files if file.by == by]
        if mine:
            expected[by] = (by, sum(mine), len(mine))
    assert sorted(await everybody(api, 1, tenant), key=str) == sorted(expected.values(), key=str)


async def test_pages_of_many(api: Api) -> None:
    people = [uuid4() for _ in range(23)]
    await api.apply(granted(1, None), *(stored(n, n % 4, by=by) for n, by in enumerate(people, 1)), stored(24, 2))
    found = await everybody(api, 4)
    assert {by for by, _, _ in found} == {*people, None}
    assert len(found) == 24
    assert found == await everybody(api, 200)


async def test_files_of_before_anybody_counted_are_nobodys(api: Api) -> None:
    await api.apply(granted(1, None), stored(1, 60, by=ANNA), stored(2, 20, by=BERT))
    async with api.worker.acquire() as connection:
        await connection.execute("DELETE FROM user_usage")
    await api.apply(stored(3, 5, by=BERT))
    assert await everybody(api) == [(None, 80, 2), (BERT, 5, 1)]
    await api.apply(deleted(4, 60, by=ANNA))
    assert await everybody(api) == [(None, 20, 1), (BERT, 5, 1)], "nobody holds less than nothing"


async def test_the_sum_is_the_tenants_whatever_is_corrected(api: Api) -> None:
    await api.apply(granted(1, None), stored(1, 60, by=ANNA), stored(2, 25, by=BERT), adjusted(3, -60, -1))
    assert await everybody(api, 1) == [(ANNA, 60, 1), (BERT, 25, 1), (None, -60, -1)]


async def test_members_see_their_own(api: Api) -> None:
    await api.apply(granted(1, None), stored(1, 60, by=ANNA), stored(2, 25, by=BERT), stored(3, 5))
    who = Principal(kind="user", user_id=BERT, tenant_id=TENANT, role="member")
    status, page = await api.get(PATH, as_=who)
    assert (status, [(item["user_id"], item["bytes"]) for item in page["items"]]) == (200, [(str(BERT), 25)])
    assert (page["items"][0]["percentage"], page["items"][0]["bytes_formatted"]) == (27.78, "25 Bytes")
    assert (await api.get(PATH))[1]["items"] == [], "somebody else has none"
    assert await everybody(api, tenant=uuid4()) == [], "and neither has another tenant"


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsMl0", "WyJhIiwiYiJd", "Wy0xLCIwIl0", "WzFlOTksIngiXQ"])
async def test_cursors_that_are_none_of_ours(api: Api, cursor: str) -> None:
    status, body = await api.get(f"{PATH}?cursor={cursor}", as_=person(role="owner"))
    assert (status, body["code"]) == (422, "invalid_cursor")
