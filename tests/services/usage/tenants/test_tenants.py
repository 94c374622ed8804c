"""What `tenants.v1` tells, in whatever order and however often."""

from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.events import TenantDeleted, TenantUpdated
from shared.security import Principal
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.samples import moment, stored, told
from tests.services.usage.world import World, world


@pytest.fixture
async def here(usage_db: ServiceDatabase) -> AsyncIterator[World]:
    async with world(usage_db, "shared") as made:
        yield made


async def known(here: World, tenant: UUID) -> dict[str, Any]:
    return dict((await query(here.dsn.superuser, "SELECT * FROM tenant WHERE tenant_id = $1", tenant))[0])


async def test_the_newest_counts_and_the_number_stays(here: World) -> None:
    tenant, owner = uuid4(), uuid4()
    await here.apply(told(tenant), told(uuid4()))
    first = await known(here, tenant)
    await here.apply(told(tenant, 3, TenantUpdated, zone="Asia/Tokyo", owner=owner))
    await here.apply(told(tenant, 2, TenantUpdated))
    await here.apply(told(tenant, 3, TenantUpdated, zone="Asia/Tokyo", owner=owner))
    found = await known(here, tenant)
    assert (found["slug"], found["name"], found["seq"]) == ("t3", "T3", 3)
    assert (found["timezone"], found["owner_id"], found["number"]) == ("Asia/Tokyo", owner, first["number"])


async def test_a_zone_nobody_knows_is_utc(here: World) -> None:
    for zone in ("Mars/Olympus", "../etc/passwd", ""):
        tenant = uuid4()
        await here.apply(told(tenant, zone=zone))
        assert (await known(here, tenant))["timezone"] == "UTC"


@pytest.mark.parametrize("together", [True, False])
async def test_deleted_is_for_ever(here: World, *, together: bool) -> None:
    tenant = uuid4()
    news = [told(tenant), told(tenant, 2, TenantDeleted), told(tenant, 3, TenantUpdated)]
    for batch in [news] if together else [[record] for record in news]:
        await here.apply(*batch)
    assert (await known(here, tenant))["deleted_at"] == moment(2).astimezone(UTC)
    await here.provisioner.settle()
    assert await here.place_of(tenant) is None
    assert (await here.get(tenant))[0] == 503


async def test_files_before_their_tenant(here: World) -> None:
    tenant = uuid4()
    await here.apply(stored(1, 60, tenant=tenant))
    status, body = await here.get(tenant)
    assert (status, body["code"]) == (503, "storage_not_calculated"), "unknown is said and never guessed"
    assert await here.provisioner.settle() == 0
    await here.sign_up(stored(2, 5, tenant=tenant))
    assert (await here.get(tenant))[1]["total_used"] == 65


async def test_news_of_a_tenant_begin_its_counters_and_its_end_does_not(here: World) -> None:
    tenant = uuid4()
    await here.apply(told(tenant), told(uuid4(), 2, TenantDeleted))
    rows = await query(here.dsn.superuser, "SELECT tenant_id, position, bytes, entitlements_version FROM tenant_usage")
    assert [tuple(row) for row in rows] == [(tenant, 0, 0, 0)], "what it is entitled to is not known by that"


async def test_isolation_is_for_administrators(here: World) -> None:
    tenant = await here.sign_up()
    path = f"/api/admin/usage/tenants/{tenant}/isolation"
    owner = Principal(kind="user", user_id=uuid4(), tenant_id=tenant, role="owner")
    for who, status in ((owner, 403), (Principal(), 401), (Principal(kind="service"), 401)):
        assert (await here.call("GET", path, who))[0] == status
        assert (await here.call("PUT", path, who, isolation="schema"))[0] == status
    assert (await here.call("PUT", path, isolation="elsewhere"))[0] == 422
    assert await here.provisioner.settle() == 0, "nothing was chosen"


async def test_a_tenant_there_is_none_of(here: World) -> None:
    gone = uuid4()
    await here.apply(told(gone), told(gone, 2, TenantDeleted))
    for tenant in (uuid4(), gone):
        path = f"/api/admin/usage/tenants/{tenant}/isolation"
        for status, body in (await here.call("GET", path), await here.call("PUT", path, isolation="schema")):
            assert (status, body["code"]) == (404, "tenant_not_found")


async def test_choosing_is_seen_at_once_and_done_soon(here: World) -> None:
    tenant = await here.sign_up(stored(1, 60, tenant=uuid4()))
    path = f"/api/admin/usage/tenants/{tenant}/isolation"
    status, chosen = await here.call("PUT", path, isolation="schema")
    assert (status, chosen["isolation"], chosen["place"], chosen["schema_name"]) == (202, "schema", "shared", None)
    await here.provisioner.settle()
    status, moved = await here.call("GET", path)
    assert status == 200
    assert moved | {"last_calculation": None} == {
        "tenant_id": str(tenant),
        "isolation": "schema",
        "place": "schema",
        "schema_name": await here.schema_of(tenant),
        "last_calculation": None,
        "total_used": 60,
        "storage_categories": {"avatars": {"bytes": 60, "files": 1}},
    }
