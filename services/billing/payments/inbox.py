"""All SQL on the inbox of callbacks. Runs inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

# Only authentic callbacks occupy an event id: a forged one must not stand in a real one's place.
_STORE = """
    INSERT INTO payment_callback
        (id, provider, event_id, authentic, body, received_at, verdict, reason, payment_id, traceparent,
        redacted)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (provider, event_id) WHERE authentic DO UPDATE SET deliveries = payment_callback.deliveries + 1
    RETURNING deliveries
"""
_WAITING = """
    SELECT payment_id FROM payment_callback WHERE verdict = 'received'
    GROUP BY payment_id HAVING coalesce(max(next_attempt_at), '-infinity') <= $1
    ORDER BY min(received_at), payment_id LIMIT 200
"""
_NEXT = """
    SELECT id, provider, body, traceparent, attempts, coalesce(next_attempt_at, '-infinity') <= $2 AS due
    FROM payment_callback
    WHERE verdict = 'received' AND payment_id IS NOT DISTINCT FROM $1 ORDER BY received_at, id LIMIT 1
"""
_DECIDE = """
    UPDATE payment_callback SET verdict = $2, reason = $3, processed_at = $4, next_attempt_at = NULL, error = NULL
    WHERE id = $1
"""
_PUT_OFF = """
    UPDATE payment_callback SET attempts = attempts + 1, error = $2, next_attempt_at = $3, verdict = $4,
        processed_at = $5
    WHERE id = $1
"""
_SUMMARY = """
    id, provider, event_id, authentic, received_at, deliveries, verdict, reason, payment_id, attempts,
    next_attempt_at, error, redacted, processed_at, replayed_at, replayed_by
"""
_NEWEST = f"""
    SELECT {_SUMMARY} FROM payment_callback
    WHERE ($1::text IS NULL OR verdict = $1) AND ($2::text IS NULL OR provider = $2)
      AND ($3::timestamptz IS NULL OR (received_at, id) < ($3, $4::uuid))
    ORDER BY received_at DESC, id DESC LIMIT $5
"""
_FIND = f"SELECT {_SUMMARY}, body FROM payment_callback WHERE id = $1"
# In its old place: what came after it about the same payment waits for it again, if it is not decided yet.
_REPLAY = f"""
    UPDATE payment_callback SET verdict = 'received', attempts = 0, next_attempt_at = NULL, processed_at = NULL,
        replayed_at = $2, replayed_by = $3
    WHERE id = $1 AND verdict = 'dead' RETURNING {_SUMMARY}
"""
_COUNT_DEAD = "SELECT count(*) FROM payment_callback WHERE verdict = 'dead'"
# Whoever sends forgeries by the hundred does not push the real ones out of the list.
_LIST = """
    SELECT * FROM (
        SELECT id, event_id, received_at, verdict, reason, deliveries FROM payment_callback
        WHERE payment_id = $1 ORDER BY authentic DESC, received_at LIMIT $2
    ) AS chosen ORDER BY received_at, id
"""
_SWEEP = """
    DELETE FROM payment_callback WHERE NOT authentic AND (received_at < $1 OR id IN (
        SELECT id FROM payment_callback WHERE NOT authentic ORDER BY received_at DESC OFFSET $2
    ))
"""

FORGERIES_KEPT = timedelta(days=30)
MOST_FORGERIES = 20_000  # the newest; anybody can send them, so what they take is bounded


@dataclass(frozen=True, slots=True)
class Callback:
    """`body` as it came. `payment_id` is what it claims to be about, if it can be read."""

    id: UUID
    provider: str
    event_id: str
    authentic: bool
    body: bytes
    received_at: datetime
    verdict: str
    reason: str | None
    payment_id: UUID | None
    traceparent: str | None
    redacted: bool = False


async def insert(connection: Any, callback: Callback) -> int:
    """How often this authentic event was delivered, this time included."""
    deliveries: int = await connection.fetchval(_STORE, *(getattr(callback, name) for name in Callback.__slots__))
    return deliveries


async def list_waiting(connection: Any, now: datetime) -> list[UUID | None]:
    """Payments with callbacks to work off, the longest waiting first. None stands for all that name no payment."""
    return [row["payment_id"] for row in await connection.fetch(_WAITING, now)]


async def lock_next(connection: Any, payment: UUID | None, now: datetime) -> Any | None:
    """The payment's oldest waiting callback; None while that waits for its next attempt: younger ones do not pass it.
    One process at a time works on a payment, so its order holds.

    The lock comes in a statement of its own: a snapshot taken before it would show what another process has done.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"callbacks of {payment}")
    row = await connection.fetchrow(_NEXT, payment, now)
    return row if row is not None and row["due"] else None


async def decide(connection: Any, callback: UUID, verdict: str, reason: str | None, at: datetime) -> None:
    await connection.execute(_DECIDE, callback, verdict, reason, at)


async def put_off(connection: Any, callback: UUID, error: str, at: datetime, until: datetime | None) -> None:
    """Tried again after `until`; given up where that is None."""
    verdict, ended = ("dead", at) if until is None else ("received", None)
    await connection.execute(_PUT_OFF, callback, error, until, verdict, ended)


async def list_newest(
    connection: Any, limit: int, before: tuple[datetime, UUID] | None, verdict: str | None, provider: str | None
) -> list[Any]:
    at, callback = before or (None, None)
    return list(await connection.fetch(_NEWEST, verdict, provider, at, callback, limit))


async def find(connection: Any, callback: UUID) -> Any | None:
    """With its body."""
    return await connection.fetchrow(_FIND, callback)


async def replay(connection: Any, callback: UUID, at: datetime, by: str) -> Any | None:
    """None when it is not a dead one."""
    return await connection.fetchrow(_REPLAY, callback, at, by)


async def count_dead(connection: Any) -> int:
    return int(await connection.fetchval(_COUNT_DEAD))


async def list_for(connection: Any, payment: UUID, limit: int) -> list[Any]:
    return list(await connection.fetch(_LIST, payment, limit))


async def sweep(connection: Any, now: datetime) -> None:
    """Forgeries are kept for a look at them, not for ever, and not all of them."""
    await connection.execute(_SWEEP, now - FORGERIES_KEPT, MOST_FORGERIES)
