"""`stowage db verify` names what is not as the migrations make it, whichever service's it is."""

import asyncio
import sys
from pathlib import Path

import pytest

from deploy.local import cli
from deploy.local.verify import verify_all
from shared.db.objects import expected_objects
from tests.fixtures.objects import SERVICES, made
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query

_MOVES = "CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
_EMPTY = "CREATE OR REPLACE FUNCTION {f} RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"


@pytest.mark.parametrize("service", SERVICES)
async def test_it_knows_what_the_migrations_make(pg: PostgresServer, service: str) -> None:
    """After a migration: `python -m tests.fixtures.objects`."""
    found = await made(pg, service)
    assert found == expected_objects(service)
    assert {name.split()[0] for name in found} == {"trigger", "function", "policy"}


async def problems(database: ServiceDatabase, service: str) -> list[str]:
    return (await verify_all({service: database.owner}))[service]


@pytest.mark.parametrize(
    ("service", "broken", "said"),
    [
        (
            "upload",
            "DROP TRIGGER append_only ON storage_transaction",
            ["trigger append_only on storage_transaction is missing"],
        ),
        (
            "upload",
            "ALTER TABLE storage_transaction DISABLE TRIGGER append_only",
            ["trigger append_only on storage_transaction is disabled"],
        ),
        (
            "billing",
            "ALTER TABLE invoice ENABLE REPLICA TRIGGER keep_invoice",
            ["trigger keep_invoice on invoice is disabled"],
        ),
        ("billing", _EMPTY.format(f="post_credits()"), ["function post_credits() is not as the migrations make it"]),
        ("gateway", _EMPTY.format(f="refuse_change()"), ["function refuse_change() is not as the migrations make it"]),
        (
            "upload",
            "DROP POLICY owner ON storage_transaction",
            ["policy owner on storage_transaction is missing"],
        ),
        (
            "gateway",
            "DROP POLICY tenant ON project",
            ["table project lacks the tenant or the worker policy", "policy tenant on project is missing"],
        ),
        (
            "billing",
            "ALTER POLICY worker ON invoice USING (tenant_id IS NOT NULL)",
            ["policy worker on invoice is not as the migrations make it"],
        ),
        (
            "billing",
            "CREATE POLICY more ON invoice USING (true)",
            ["policy more on invoice is none that the migrations make"],
        ),
        (
            "usage",
            f"{_MOVES} | CREATE TRIGGER moves BEFORE INSERT ON template.storage_management EXECUTE FUNCTION moves()",
            ["trigger moves on template.storage_management is none that the migrations make"],
        ),
        ("usage", "DROP FUNCTION keep_history", None),
        ("upload", "DROP FUNCTION tell_terms CASCADE", None),
    ],
)
async def test_it_names_what_is_not_as_it_should_be(
    pg: PostgresServer, service: str, broken: str, said: list[str] | None
) -> None:
    database = pg.create(service)
    assert await problems(database, service) == []
    for statement in broken.split(" | "):
        await query(database.superuser, statement)
    found = await problems(database, service)
    if said is not None:
        assert found == said
    else:
        name = broken.split()[2]
        assert [line for line in found if line.startswith(f"function {name}(") and line.endswith(") is missing")]


def test_the_command_fails_where_something_is_wrong(
    pg: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = pg.create("upload")
    monkeypatch.setattr(cli, "running_state", lambda _: {"postgres_owner": {"upload": database.owner}})
    monkeypatch.setattr(sys, "argv", ["stowage", "db", "verify", "--home", str(tmp_path)])
    for broken, code, said in (
        ("SELECT 1", 0, "upload: as it should be\n"),
        (
            "DROP TRIGGER append_only ON storage_transaction",
            1,
            "upload: \n  trigger append_only on storage_transaction is missing\n",
        ),
    ):
        asyncio.run(query(database.superuser, broken))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert (ended.value.code, capsys.readouterr().out) == (code, said)
