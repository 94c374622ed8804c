"""Brings a service's database to the newest version: `python -m shared.db.migrate upload`."""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

ROOT = Path(__file__).resolve().parents[2]


def configuration(service: str, owner_dsn: str = "", app_role: str = "", worker_role: str = "") -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "services" / service / "migrations"))
    config.attributes.update(dsn=owner_dsn, app_role=app_role, worker_role=worker_role)
    return config


def head(service: str) -> str:
    """The newest revision in the code."""
    revision = ScriptDirectory.from_config(configuration(service)).get_current_head()
    if revision is None:
        raise LookupError(f"{service} has no migrations")
    return revision


def upgrade(service: str, owner_dsn: str, app_role: str, worker_role: str) -> None:
    """Runs what is missing, in order. Safe to run twice and from two processes at once."""
    command.upgrade(configuration(service, owner_dsn, app_role, worker_role), "head")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: OWNER_DATABASE_URL=… [APP_ROLE=… WORKER_ROLE=…] python -m shared.db.migrate SERVICE")
    service = sys.argv[1]
    owner = os.environ.get("OWNER_DATABASE_URL") or sys.exit("OWNER_DATABASE_URL is not set")
    if not urlsplit(str(owner)).username:
        sys.exit("OWNER_DATABASE_URL names no role")
    upgrade(
        service,
        str(owner),
        os.environ.get("APP_ROLE", f"{service}_app"),
        os.environ.get("WORKER_ROLE", f"{service}_worker"),
    )


if __name__ == "__main__":
    main()
