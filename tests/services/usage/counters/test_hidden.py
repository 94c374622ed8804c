"""Trash and older versions, apart in every answer that has parts, and in installations that did not have them."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from alembic import command
from hypothesis import HealthCheck, given, settings

from shared.db.migrate import configuration
from tests.fixtures.postgres import PostgresServer, query
from tests.services.usage.api import Api, person
from tests.services.usage.histories import History, histories
from tests.services.usage.samples import (
    KINDS,
    PEOPLE,
    PROJECTS,
    START,
    TENANT,
    File,
    adjusted,
    deleted,
    granted,
    moved,
    replaced,
    restored,
    stored,
    trashed,
)
from tests.services.usage.sums import assert_sums

NAMES = ("trashed_bytes", "trashed_files", "version_bytes", "version_files")
ONE, TWO = PROJECTS
ANNA, BERT = PEOPLE
_COUNTED = """
    INSERT INTO tenant_usage (tenant_id, trashed_bytes, trashed_files, updated_at, last_reset)
    VALUES ($1, 7, 1, now(), now())
"""


async def apart(api: Api, tenant: UUID = TENANT) -> dict[Any, tuple[Any, ...]]:
    """What the answers say of each kind, project and person that has any, and of the tenant (None)."""
    owner = person(tenant, "owner")
    summary, users, projects = [
        (await api.get(f"/api/usage/{path}", as_=owner))[1] for path in ("summary", "users?limit=200", "projects")
    ]
    found: dict[Any, tuple[Any, ...]] = {None: _amounts(summary["storage"])}
    assert _amounts(projects["total"]) == _amounts(users) == found[None]
    found |= {(part["file_type"], part["category"]): _amounts(part) for part in summary["breakdown"]}
    for part in (*users["items"], *projects["items"]):
        if name := part.get("user_id", part.get("project_id")):
            found[UUID(name)] = _amounts(part)
    return {key: amounts for key, amounts in found.items() if any(amounts)}


def _amounts(part: Any) -> tuple[Any, ...]:
    return tuple(part[name] for name in NAMES)


async def test_a_file_on_its_way(api: Api) -> None:
    first, second = File(60, KINDS[0], project=ONE, by=ANNA), File(10, KINDS[2], project=ONE, by=BERT)
    elsewhere = File(10, KINDS[2], project=TWO, by=BERT)
    await api.apply(granted(1, None), stored(1, 60, project=ONE, by=ANNA), replaced(2, first, second, kept=True))
    version = (0, 0, 60, 1)
    for _ in range(2):
        await api.apply(stored(3, 60, version=True, project=ONE, by=ANNA))
    assert await apart(api) == dict.fromkeys((None, KINDS[0], ONE, ANNA), version)
    await api.apply(moved(4, second, elsewhere), trashed(5, elsewhere))
    trash = (10, 1, 0, 0)
    assert await apart(api) == {
        None: (10, 1, 60, 1),
        **dict.fromkeys((KINDS[0], ONE, ANNA), version),
        **dict.fromkeys((KINDS[2], TWO, BERT), trash),
    }
    status, project = await api.get(f"/api/usage/projects/{TWO}")
    assert (status, project["files"], _amounts(project)) == (200, 1, trash)
    other = File(3, KINDS[2], project=TWO, by=BERT)
    await api.apply(stored(6, 3, KINDS[2], project=TWO, by=BERT), trashed(7, other))
    assert await apart(api) == {
        None: (13, 2, 60, 1),
        **dict.fromkeys((KINDS[0], ONE, ANNA), version),
        **dict.fromkeys((KINDS[2], TWO, BERT), (13, 2, 0, 0)),
    }
    await api.apply(deleted(8, 3, KINDS[2], trashed=True, project=TWO, by=BERT))
    gone = deleted(10, 60, version=True, project=ONE, by=ANNA)
    await api.apply(restored(9, elsewhere), gone, trashed(11, elsewhere))
    assert await apart(api) == dict.fromkeys((None, KINDS[2], TWO, BERT), trash)
    await api.apply(deleted(12, 10, KINDS[2], trashed=True, project=TWO, by=BERT))
    assert await apart(api) == {}
    status, project = await api.get(f"/api/usage/projects/{TWO}")
    assert (status, project["files"], _amounts(project)) == (200, 0, (0, 0, 0, 0))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(history=histories())
async def test_answers_say_what_is_there(api: Api, history: History) -> None:
    """Files of no project and of nobody known among them."""
    tenant = uuid4()  # each example on the same database
    for entry in history.ledger:
        entry.tenant_id = tenant
    await api.apply(granted(1, None, tenant=tenant), *history.ledger[: len(history.ledger) // 2])
    await api.apply(*history.ledger)
    expected = {}
    for key in (None, *KINDS, *PROJECTS, *PEOPLE):
        mine = [file for file in history.files if key is None or key in (file.kind, file.project, file.by)]
        trash = [file.size for file in mine if file.trashed]
        versions = [file.size for file in mine if file.version]
        if trash or versions:
            expected[key] = (sum(trash), len(trash), sum(versions), len(versions))
    assert await apart(api, tenant) == expected


async def test_what_is_corrected_away_leaves_its_trash_in_sight(api: Api) -> None:
    """An adjustment takes a kind's bytes and says nothing of trash: the parts still sum to the tenant's."""
    await api.apply(granted(1, None), stored(1, 60), trashed(2, File(60)), adjusted(3, -60, -1))
    assert await apart(api) == dict.fromkeys((None, KINDS[0]), (60, 1, 0, 0))


async def test_a_month_that_is_over_knows_bytes_alone(api: Api) -> None:
    await api.apply(stored(1, 60, project=ONE, by=ANNA), trashed(2, File(60, project=ONE, by=ANNA)))
    status, listed = await api.get(f"/api/usage/projects?month={START:%Y-%m}")
    [item] = listed["items"]
    assert (status, item["storage_bytes"], item["files"], listed["total"]["files"]) == (200, 60, None, None)
    assert _amounts(item) == _amounts(listed["total"]) == (None,) * 4
    assert assert_sums(listed)


async def test_an_update_wants_them_filled_in(pg: PostgresServer) -> None:
    fresh = pg.create("usage")
    assert await query(fresh.superuser, "SELECT * FROM rebuild_wanted") == [], "of a new one there is nothing to fill"
    superuser = pg.empty()
    name = superuser.rsplit("/", 1)[1]
    await query(superuser, f'ALTER DATABASE "{name}" OWNER TO usage_owner')
    to = configuration("usage", pg.dsn(name, "usage_owner"), "usage_app", "usage_worker")
    await asyncio.to_thread(command.upgrade, to, "0015")
    await query(superuser, _COUNTED, TENANT)
    await asyncio.to_thread(command.upgrade, to, "head")
    assert [row["reason"] for row in await query(superuser, "SELECT reason FROM rebuild_wanted")] == ["hidden"]
