"""`stowage db verify` says which schema or function is not as it should be."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.verify import verify_all
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.world import World, world


@pytest.fixture
async def here(usage_db: ServiceDatabase) -> AsyncIterator[World]:
    async with world(usage_db, "schema") as made:
        yield made


async def problems(here: World) -> list[str]:
    return (await verify_all({"usage": here.dsn.owner}))["usage"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("DROP TABLE {s}.storage_management", "schema {s}: storage_management is missing"),
        ("ALTER TABLE {s}.storage_management DROP user_id", "schema {s}: storage_management has other columns"),
        ("ALTER TABLE {s}.storage_management ADD x int", "schema {s}: storage_management has other columns"),
        (
            "ALTER TABLE {s}.storage_management ALTER total_used TYPE int",
            "schema {s}: storage_management has other columns",
        ),
        ("DROP INDEX {s}.storage_management_expr_idx", "schema {s}: storage_management may have several rows"),
        ("GRANT USAGE ON SCHEMA {s} TO usage_app", "schema {s}: requests may use it"),
        ("GRANT SELECT ON {s}.storage_management TO PUBLIC", "schema {s}: requests may use it"),
        ("REVOKE USAGE ON SCHEMA {s} FROM usage_worker", "schema {s}: the worker may not use it"),
        ("REVOKE UPDATE ON {s}.storage_management FROM usage_worker", "schema {s}: the worker may not use it"),
        ("ALTER SCHEMA {s} OWNER TO postgres", "schema {s}: does not belong to the owner of the database"),
        ("DROP SCHEMA {s} CASCADE", "schema {s} is missing"),
        ("CREATE TABLE template.more (x int)", "schema {s}: more of the template is missing"),
        ("ALTER POLICY tenant ON alert USING (true)", "policy of table alert (tenant) lets others in"),
        ("ALTER POLICY tenant ON alert WITH CHECK (true)", "policy of table alert (tenant) lets others in"),
        ("ALTER POLICY worker ON alert TO PUBLIC", "policy of table alert (worker) lets others in"),
        ("CREATE SCHEMA client_77 AUTHORIZATION usage_owner", "schema client_77 belongs to no tenant"),
        ("DROP SCHEMA template CASCADE", "schema template is missing"),
        ("DROP FUNCTION remove_storage", "function remove_storage(tenant uuid) is missing"),
        (
            "ALTER FUNCTION provision_client_schema SECURITY DEFINER",
            "function provision_client_schema runs with the wrong rights",
        ),
        (
            "ALTER FUNCTION clone_client_schema RESET search_path",
            "function clone_client_schema has no search_path of its own",
        ),
        (
            "GRANT EXECUTE ON FUNCTION drop_client_schema TO PUBLIC",
            "function drop_client_schema may be executed by requests",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION client_storage FROM usage_app",
            "function client_storage may not be executed by requests",
        ),
        (
            "ALTER FUNCTION client_storage OWNER TO postgres",
            "function client_storage does not belong to the owner of the database",
        ),
    ],
)
async def test_it_names_what_is_wrong(here: World, broken: str, said: str) -> None:
    schema = await here.schema_of(await here.sign_up())
    await here.sign_up()
    assert await problems(here) == []
    await query(here.dsn.superuser, broken.format(s=schema))
    assert said.format(s=schema) in await problems(here)
