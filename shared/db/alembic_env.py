"""What every service's `migrations/env.py` runs: one connection, one transaction, one lock."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

# Any number that is ours: two processes that migrate the same database take turns.
_LOCK = 0x570_1A6E


def roles() -> tuple[str, str]:
    """The app and the worker role of the service being migrated."""
    attributes = context.config.attributes
    return attributes["app_role"], attributes["worker_role"]


def run() -> None:
    asyncio.run(_run())


async def _run() -> None:
    dsn = context.config.attributes["dsn"]
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


def _migrate(connection: Connection) -> None:
    # A migration runs beside the previous version: it gives up rather than block it.
    connection.execute(text("SET lock_timeout = '10s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
