"""One run of a job at a time, whichever worker it runs in."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.db import Database

_TAKE = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_GIVE_BACK = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"


@asynccontextmanager
async def locked(database: Database, name: str) -> AsyncIterator[bool]:
    """Yields whether the lock was free. It belongs to a connection: a process that dies leaves no lock."""
    key = f"job {name}"
    async with database.acquire() as connection:
        taken = await connection.fetchval(_TAKE, key)
        try:
            yield taken
        finally:
            if taken:
                with contextlib.suppress(Exception):  # a connection that broke holds nothing any more
                    await connection.execute(_GIVE_BACK, key)
