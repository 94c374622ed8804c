from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.usage.disk.rules import Amount, Owner
from shared.ids import new_id

# Two who ask at once get the same run, which has not begun yet: it will see what both want seen.
_REQUEST = """
    INSERT INTO disk_run (id, status, requested_at, requested_by) VALUES ($1, 'waiting', $2, $3)
    ON CONFLICT (status) WHERE status IN ('waiting', 'running') DO UPDATE SET status = disk_run.status
    RETURNING *
"""

_CLOSE_DEAD = "UPDATE disk_run SET status = 'failed', finished_at = $1, error = $2 WHERE status = 'running'"

_START_REQUESTED = """
    UPDATE disk_run SET status = 'running', started_at = $1, day = $2 WHERE status = 'waiting' RETURNING id
"""

# One that was asked for after the hour does for the daily one, too.
_START_DAILY = """
    INSERT INTO disk_run (id, status, requested_at, started_at, day)
    SELECT $1, 'running', $2, $2, $3
    WHERE NOT EXISTS (
        SELECT FROM disk_run WHERE (status = 'done' AND started_at >= $4) OR (status = 'failed' AND started_at > $5)
    )
    RETURNING id
"""

_FAIL = """
    UPDATE disk_run SET status = 'failed', finished_at = $2, error = $3 WHERE id = $1 AND status = 'running'
"""

# Failures repeat; what was measured stays, for the history.
_FORGET = "DELETE FROM disk_run WHERE status = 'failed' AND finished_at < $1::timestamptz - interval '90 days'"

_FINISH = """
    UPDATE disk_run
    SET status = 'done', finished_at = $2, engine = $3, api = $4, projects = $5, volumes_bytes = $6, images_bytes = $7,
        unassigned_volumes_bytes = $8, unassigned_images_bytes = $9, unassigned = $10, mislabelled = $11, unknown = $12
    WHERE id = $1 AND status = 'running'
    RETURNING day, started_at
"""

_CLEAR_DAY = "DELETE FROM disk_usage WHERE day = $1"

_FILL_DAY = """
    INSERT INTO disk_usage
        (tenant_id, project_id, day, volumes_bytes, images_bytes, volumes, images, unknown, taken_at)
    SELECT t.tenant_id, t.project_id, $1, t.volumes_bytes, t.images_bytes, t.volumes, t.images, t.unknown, $2
    FROM unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::int[], $8::int[], $9::int[])
         AS t(tenant_id, project_id, volumes_bytes, images_bytes, volumes, images, unknown)
"""

# What the newest run did not find is there no more, whatever an older one found.
_NEWEST = """
    SELECT coalesce(w.position, 0) AS position, r.started_at AS as_of, u.project_id, u.volumes_bytes, u.images_bytes,
           u.volumes, u.images, u.unknown
    FROM (SELECT) AS one LEFT JOIN tenant_usage AS w ON w.tenant_id = $1
    LEFT JOIN (SELECT day, started_at FROM disk_run WHERE status = 'done' ORDER BY day DESC, started_at DESC LIMIT 1)
        AS r ON true
    LEFT JOIN disk_usage AS u ON u.day = r.day AND u.tenant_id = $1
    ORDER BY u.volumes_bytes + u.images_bytes DESC, u.project_id
"""

# A day without a run is missing, one on which nothing was found is zero.
_DAYS = """
    SELECT coalesce(w.position, 0) AS position, statement_timestamp() AS as_of, r.day, r.taken_at,
           coalesce(sum(u.volumes_bytes), 0)::bigint AS volumes_bytes,
           coalesce(sum(u.images_bytes), 0)::bigint AS images_bytes, coalesce(sum(u.volumes), 0)::bigint AS volumes,
           coalesce(sum(u.images), 0)::bigint AS images, coalesce(sum(u.unknown), 0)::bigint AS unknown
    FROM (SELECT) AS one LEFT JOIN tenant_usage AS w ON w.tenant_id = $1
    LEFT JOIN (SELECT day, max(started_at) AS taken_at FROM disk_run
               WHERE status = 'done' AND day BETWEEN $3 AND $4 GROUP BY day) AS r ON true
    LEFT JOIN disk_usage AS u ON u.day = r.day AND u.tenant_id = $1 AND ($2::uuid IS NULL OR u.project_id = $2)
    GROUP BY w.position, r.day, r.taken_at ORDER BY r.day
"""

_KNOWN = "SELECT EXISTS (SELECT FROM disk_usage WHERE tenant_id = $1 AND project_id = $2)"

_LIST = """
    SELECT * FROM disk_run WHERE $1::timestamptz IS NULL OR (requested_at, id) < ($1, $2::uuid)
    ORDER BY requested_at DESC, id DESC LIMIT $3
"""

_LAST_DONE = "SELECT * FROM disk_run WHERE status = 'done' ORDER BY day DESC, started_at DESC LIMIT 1"


class DiskRepository:
    """All SQL on disk usage and the runs that measure it. Runs inside the caller's transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def request(self, by: UUID | None, now: datetime) -> Any:
        """The run that waits: a new one, or the one somebody else is waiting for."""
        return await self._connection.fetchrow(_REQUEST, new_id(), now, by)

    async def close_dead(self, now: datetime) -> None:
        """Whoever holds the lock and finds a run going on is looking at one that died."""
        await self._connection.execute(_CLOSE_DEAD, now, "its process died")

    async def start_requested(self, now: datetime) -> UUID | None:
        """The run somebody waits for, if there is one."""
        run: UUID | None = await self._connection.fetchval(_START_REQUESTED, now, now.date())
        return run

    async def start_daily(self, now: datetime, due: datetime, failed: datetime) -> UUID | None:
        """A new run, unless one succeeded since `due`, or failed since `failed`."""
        run: UUID | None = await self._connection.fetchval(_START_DAILY, new_id(), now, now.date(), due, failed)
        return run

    async def fail(self, run: UUID, now: datetime, error: str) -> None:
        await self._connection.execute(_FAIL, run, now, error)
        await self._connection.execute(_FORGET, now)

    async def finish(
        self,
        run: UUID,
        now: datetime,
        version: tuple[str, str],
        projects: Mapping[Owner, Amount],
        unassigned: Amount,
        mislabelled: int,
    ) -> bool:
        """Replaces the day's figures. False, and nothing done, where the run was given up for dead meanwhile."""
        amounts = list(projects.values())
        row = await self._connection.fetchrow(
            _FINISH,
            run,
            now,
            *version,
            len(projects),
            sum(amount.volumes_bytes for amount in amounts),
            sum(amount.images_bytes for amount in amounts),
            unassigned.volumes_bytes,
            unassigned.images_bytes,
            unassigned.volumes + unassigned.images,
            mislabelled,
            sum(amount.unknown for amount in (*amounts, unassigned)),
        )
        if row is None:
            return False
        await self._connection.execute(_CLEAR_DAY, row["day"])
        columns = ("volumes_bytes", "images_bytes", "volumes", "images", "unknown")
        await self._connection.execute(
            _FILL_DAY,
            row["day"],
            row["started_at"],
            [owner.tenant for owner in projects],
            [owner.project for owner in projects],
            *([getattr(amount, name) for amount in amounts] for name in columns),
        )
        return True

    async def list_newest(self, tenant: UUID) -> list[Any]:
        """A row for each project, the largest first; one without a project where the tenant has none, and one without
        a time before the first run.
        """
        return list(await self._connection.fetch(_NEWEST, tenant))

    async def list_days(self, tenant: UUID, project: UUID | None, first: date, last: date) -> list[Any]:
        """A row for each day with a run, of one project or of all together; one without a day where there is none."""
        return list(await self._connection.fetch(_DAYS, tenant, project, first, last))

    async def knows(self, tenant: UUID, project: UUID) -> bool:
        return bool(await self._connection.fetchval(_KNOWN, tenant, project))

    async def list_runs(self, after: tuple[datetime, UUID] | None, limit: int) -> list[Any]:
        """Newest first, past the one at `after`."""
        return list(await self._connection.fetch(_LIST, *(after or (None, None)), limit))

    async def find_last_done(self) -> Any:
        return await self._connection.fetchrow(_LAST_DONE)
