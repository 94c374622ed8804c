"""Tenants' addresses, and what sister services may ask."""

from itertools import islice, repeat
from uuid import UUID

import asyncpg
import pytest

from services.gateway.tenants.rules import candidates, slug_of
from shared.db.verify import verify
from shared.errors import UpstreamError
from shared.http import ServiceClient
from shared.ids import new_id
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.gateway.harness import SECRET, Gateway


def _client(gateway: Gateway) -> ServiceClient:
    return ServiceClient(gateway.url, SECRET, issuer="upload", audience="gateway")


async def test_a_sister_service_asks_about_a_tenant(gateway: Gateway) -> None:
    person = await gateway.sign_up("Harbour")
    async with _client(gateway) as client:
        facts = await client.request_json("GET", f"/internal/tenants/{person.tenant['id']}")
        assert facts == {"slug": "harbour", "name": "Harbour", "owner_email": person.email, "timezone": "UTC"}
        with pytest.raises(UpstreamError, match="404"):
            await client.request_json("GET", f"/internal/tenants/{new_id()}")
        events = await client.request_json("GET", f"/internal/outbox/tenants.v1/{person.tenant['id']}")
        assert [event["type"] for event in events["items"]] == ["tenant.created"]


async def test_a_sister_service_asks_whose_an_address_is(gateway: Gateway) -> None:
    person = await gateway.sign_up("Harbour")
    async with _client(gateway) as client:
        for email in (person.email, person.email.upper()):
            assert await client.request_json("GET", f"/internal/people/{email}/tenants") == [person.tenant["id"]]
        assert await client.request_json("GET", "/internal/people/nobody@example.com/tenants") == []


async def test_rows_of_others_do_not_exist_for_the_serving_role(gateway: Gateway) -> None:
    person, _other = await gateway.sign_up(), await gateway.sign_up()
    mine = UUID(person.tenant["id"])
    for table in ("tenant", "membership", "outbox_event"):
        assert await query(gateway.database.app, f"SELECT * FROM {table}") == []
    connection = await asyncpg.connect(gateway.database.app)
    try:
        await connection.execute(f"SELECT set_config('app.tenant_id', '{mine}', false)")
        assert [row[0] for row in await connection.fetch("SELECT id FROM tenant")] == [mine]
        await connection.execute("SELECT set_config('app.tenant_id', '', false)")
        await connection.execute(f"SELECT set_config('app.user_id', '{person.user['id']}', false)")
        assert [row[0] for row in await connection.fetch("SELECT tenant_id FROM membership")] == [mine]
        assert [row[0] for row in await connection.fetch("SELECT id FROM tenant")] == [mine]
        assert await connection.execute("UPDATE tenant SET name = 'x'") == "UPDATE 0"
        assert await connection.execute("UPDATE membership SET role = 'owner'") == "UPDATE 0"
    finally:
        await connection.close()


async def test_database_is_as_it_should_be(gateway_db: ServiceDatabase) -> None:
    connection = await asyncpg.connect(gateway_db.superuser)
    try:
        assert await verify(connection, "gateway") == []
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Ärzte & Söhne GmbH", "arzte-sohne-gmbh"),
        ("  --  ", "tenant"),
        ("会社", "tenant"),
        ("Admin", "admin-team"),
        ("x" * 99, "x" * 40),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_slugs(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_candidates_are_few_and_then_random() -> None:
    assert list(islice(candidates("Harbour", repeat("f00")), 4)) == ["harbour", "harbour-2", "harbour-3", "harbour-f00"]
