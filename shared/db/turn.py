import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared.db.database import Database

_TAKE = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_GIVE_BACK = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"


@asynccontextmanager
async def turn(database: Database, name: str) -> AsyncIterator[Any | None]:
    """For one process at a time: yields a connection, or None while another has the turn of that name.

    It belongs to the connection: a process that dies leaves no lock.
    """
    async with database.set_aside() as connection:
        taken = await connection.fetchval(_TAKE, name)
        try:
            yield connection if taken else None
        finally:
            if taken:
                with contextlib.suppress(Exception):  # a connection that broke holds nothing any more
                    await connection.execute(_GIVE_BACK, name)
