"""All SQL on dead letters once they lie there. Runs inside the caller's transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

_SUMMARY = """
    id, group_name AS "group", topic, partition, record_offset AS "offset", tenant_id, seq, type, error, attempts,
    coalesce(resolution, 'waiting') AS state, left_out AS replayable, created_at, replay_requested_at,
    replay_requested_by, resolved_at, resolved_by, reason
"""
_NEWEST = f"""
    SELECT {_SUMMARY} FROM dead_letter
    WHERE {{state}} AND ($1::text IS NULL OR topic = $1)
      AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
    ORDER BY created_at DESC, id DESC LIMIT $4
"""
# Written out, so that the index of those that wait serves.
_STATES = {
    "waiting": "resolved_at IS NULL",
    "replayed": "resolution = 'replayed'",
    "discarded": "resolution = 'discarded'",
}
_FIND = f"SELECT {_SUMMARY}, key, headers, value FROM dead_letter WHERE id = $1"
_REQUEST = f"""
    UPDATE dead_letter SET replay_requested_at = coalesce(replay_requested_at, now()),
        replay_requested_by = CASE WHEN replay_requested_at IS NULL THEN $2 ELSE replay_requested_by END
    WHERE id = $1 RETURNING {_SUMMARY}
"""
_REQUEST_ALL = """
    UPDATE dead_letter SET replay_requested_at = now(), replay_requested_by = $2
    WHERE resolved_at IS NULL AND left_out AND replay_requested_at IS NULL AND ($1::text IS NULL OR topic = $1)
"""
_DISCARD = f"""
    UPDATE dead_letter SET resolved_at = now(), resolution = 'discarded', resolved_by = $2, reason = $3,
        replay_requested_at = NULL, replay_requested_by = NULL
    WHERE id = $1 RETURNING {_SUMMARY}
"""
# Another worker's letter is passed over. In the order of the streams: a file comes before its deletion, which without
# it may be refused.
_LOCK_REQUESTED = """
    SELECT id, topic, partition, record_offset, tenant_id, seq, type, headers, value FROM dead_letter
    WHERE group_name = $1 AND resolved_at IS NULL AND left_out AND replay_requested_at IS NOT NULL
    ORDER BY created_at, topic, tenant_id, seq LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_REPLAYED = """
    UPDATE dead_letter SET resolved_at = now(), resolution = 'replayed', resolved_by = replay_requested_by,
        attempts = attempts + 1
    WHERE id = $1
"""
_FAILED = """
    UPDATE dead_letter SET error = $2, attempts = attempts + 1, replay_requested_at = NULL, replay_requested_by = NULL
    WHERE id = $1
"""
_COUNT = "SELECT topic, count(*) AS n FROM dead_letter WHERE group_name = $1 AND resolved_at IS NULL GROUP BY topic"


async def list_newest(
    connection: Any, limit: int, before: tuple[datetime, UUID] | None, topic: str | None, state: str
) -> list[Any]:
    at, letter = before or (None, None)
    return list(await connection.fetch(_NEWEST.format(state=_STATES[state]), topic, at, letter, limit))


async def find(connection: Any, letter: UUID) -> Any | None:
    return await connection.fetchrow(_FIND, letter)


async def lock(connection: Any, letter: UUID) -> Any | None:
    """Waits for a replay that is under way."""
    return await connection.fetchrow(f"{_FIND} FOR UPDATE", letter)


async def request(connection: Any, letter: UUID, by: str) -> Any:
    """Asked for again it is the same request."""
    return await connection.fetchrow(_REQUEST, letter, by)


async def request_all(connection: Any, topic: str | None, by: str) -> int:
    """Returns how many were not asked for before."""
    return int((await connection.execute(_REQUEST_ALL, topic, by)).split()[-1])


async def discard(connection: Any, letter: UUID, by: str, reason: str) -> Any:
    return await connection.fetchrow(_DISCARD, letter, by, reason)


async def lock_requested(connection: Any, group: str) -> Any | None:
    """The next one to replay, kept from other workers until the end of the transaction."""
    return await connection.fetchrow(_LOCK_REQUESTED, group)


async def mark_replayed(connection: Any, letter: UUID) -> None:
    await connection.execute(_REPLAYED, letter)


async def mark_failed(connection: Any, letter: UUID, error: str) -> None:
    """It waits again, for somebody to ask again."""
    await connection.execute(_FAILED, letter, error)


async def count_waiting(connection: Any, group: str) -> dict[str, int]:
    """By topic."""
    return {row["topic"]: row["n"] for row in await connection.fetch(_COUNT, group)}
