"""What jobs did: a bounded number of rows for each."""

from typing import Any
from uuid import UUID

from shared.db import Database

KEPT = 100  # runs of each job

# Whoever holds the job's lock and finds a run of it open is looking at one that died.
_BEGIN = """
    WITH died AS (
        UPDATE job_run SET ended_at = now(), error = 'its process died' WHERE name = $2 AND ended_at IS NULL
    )
    INSERT INTO job_run (id, name) VALUES ($1, $2)
"""
_END = "UPDATE job_run SET ended_at = now(), result = $2, error = $3 WHERE id = $1"
_WHOLE = """
    INSERT INTO job_run (id, name, started_at, ended_at, result, error)
    VALUES ($1, $2, now() - make_interval(secs => $3), now(), $4, $5)
"""
_BOUND = """
    DELETE FROM job_run WHERE name = $1 AND id < (
        SELECT id FROM job_run WHERE name = $1 ORDER BY id DESC OFFSET $2 LIMIT 1
    )
"""
_LAST = """
    SELECT DISTINCT ON (name) name, started_at, ended_at, result, error FROM job_run ORDER BY name, id DESC
"""
_NEWEST_RESULT = """
    SELECT result FROM job_run WHERE name = $1 AND result IS NOT NULL ORDER BY id DESC LIMIT 1
"""


class History:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, run: UUID, name: str) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN, run, name)

    async def end(self, run: UUID, name: str, result: dict[str, Any] | None, error: str | None) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(_END, run, result, error)
            await connection.execute(_BOUND, name, KEPT - 1)

    async def add(self, run: UUID, name: str, seconds: float, result: dict[str, Any] | None, error: str | None) -> None:
        """A run that is over already."""
        async with self._database.transaction() as connection:
            await connection.execute(_WHOLE, run, name, seconds, result, error)
            await connection.execute(_BOUND, name, KEPT - 1)

    async def last(self) -> dict[str, dict[str, Any]]:
        """The newest run of each job, by name."""
        async with self._database.transaction() as connection:
            return {row["name"]: dict(row) for row in await connection.fetch(_LAST)}

    async def newest_result(self, name: str) -> dict[str, Any] | None:
        async with self._database.transaction() as connection:
            found: dict[str, Any] | None = await connection.fetchval(_NEWEST_RESULT, name)
        return found
