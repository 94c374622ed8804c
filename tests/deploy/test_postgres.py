"""A PostgreSQL that is given instead of the bundled one, and a disk that is full."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from deploy.local.home import Home, StackError
from deploy.local.ports import free_port
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.stack import Stack, person, run

# Everybody but the administrator has to know a password.
HBA = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="stowage-pg-"))  # pytest's own folders are closed to the server's user
    running = PostgresServer(folder)
    running.start()
    (folder / "data" / "pg_hba.conf").write_text(HBA)
    running._execute("SELECT pg_reload_conf()")
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_given_server_works_the_same_for_one_home_after_another(
    server: PostgresServer, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    for number in range(2):
        stack = Stack(tmp_path / f"home-{number}", free_port())
        given = ("--postgres", server.dsn("postgres"), "--broker", "embedded", "--detach")
        run("up", "--home", str(stack.home), "--port", str(stack.port), *given)
        try:
            ada = await person(stack, http)
            (await ada.upload("hello.txt", b"hello", "documents")).expect(201, "an upload")
            assert stack.command("db", "verify").stdout.count("as it should be") == 4
            assert "postgres" not in {service["name"] for service in stack.status["services"]}
        finally:
            stack.command("down")


def test_options_of_the_address_are_kept(tmp_path: Path) -> None:
    from deploy.local.parts import Addresses, Ports

    home = Home(tmp_path)
    home.prepare()
    given = "postgresql://root:secret@db.example:6432/postgres?sslmode=require"
    address = Addresses(home, Ports(home, free_port()), home.secrets(), given).database("upload", "app")
    assert address.endswith("@db.example:6432/upload?sslmode=require")
    assert "secret@" not in address


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int
        used: int
        free: int

    monkeypatch.setattr("deploy.local.home.shutil.disk_usage", lambda _: Usage(10, 9, 1))
    with pytest.raises(StackError, match="is full: at least 200 MB"):
        Home(tmp_path / "home").prepare()
