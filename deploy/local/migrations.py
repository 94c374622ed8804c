"""Databases at their newest version: looked at first, migrated only when behind."""

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import asyncpg

from deploy.local.home import SERVICES, StackError
from shared.db.migrate import ROOT, upgrade

_REVISION = re.compile(r'^revision\b.*=\s*"([^"]+)"', re.MULTILINE)


def newest(service: str) -> str:
    """The last revision by file name; asking Alembic would cost half a second of imports."""
    files = sorted((ROOT / "services" / service / "migrations" / "versions").glob("[0-9]*.py"))
    found = _REVISION.search(files[-1].read_text())
    if found is None:
        raise StackError(f"{files[-1]} has no revision")
    return found[1]


async def bring_up_to_date(owners: dict[str, str]) -> list[str]:
    """`owners`: the owner's address of each service's database. Returns the services that were behind."""
    states = await asyncio.gather(*(_version(owners[service]) for service in SERVICES))
    behind = [service for service, state in zip(SERVICES, states, strict=True) if state != newest(service)]
    if behind:
        work = json.dumps({service: owners[service] for service in behind})
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.local.migrations", stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )
        _, errors = await process.communicate(work.encode())
        if process.returncode != 0:
            raise StackError(f"a migration failed: {errors.decode(errors='replace').strip().splitlines()[-1]}")
    return behind


async def _version(dsn: str) -> str | None:
    connection: Any = await asyncpg.connect(dsn)
    try:
        version: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    else:
        return version
    finally:
        await connection.close()


def main() -> None:
    """In a process of its own: reads {service: owner's address} from standard input."""
    for service, dsn in json.load(sys.stdin).items():
        upgrade(service, dsn, f"{service}_app", f"{service}_worker")


if __name__ == "__main__":
    main()
