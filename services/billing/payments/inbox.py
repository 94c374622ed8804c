"""All SQL on the inbox of callbacks. Runs inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

# Only authentic callbacks occupy an event id: a forged one must not stand in a real one's place.
_STORE = """
    INSERT INTO payment_callback
        (id, provider, event_id, authentic, body, received_at, verdict, reason, payment_id, traceparent)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (provider, event_id) WHERE authentic DO UPDATE SET deliveries = payment_callback.deliveries + 1
    RETURNING deliveries
"""
_WAITING = """
    SELECT payment_id FROM payment_callback WHERE verdict = 'received'
    GROUP BY payment_id ORDER BY min(received_at), payment_id LIMIT 200
"""
_NEXT = """
    SELECT id, body, traceparent FROM payment_callback
    WHERE verdict = 'received' AND payment_id IS NOT DISTINCT FROM $1 ORDER BY received_at, id LIMIT 1
"""
_DECIDE = "UPDATE payment_callback SET verdict = $2, reason = $3, processed_at = $4 WHERE id = $1"
# Whoever sends forgeries by the hundred does not push the real ones out of the list.
_LIST = """
    SELECT * FROM (
        SELECT id, event_id, received_at, verdict, reason, deliveries FROM payment_callback
        WHERE payment_id = $1 ORDER BY authentic DESC, received_at LIMIT $2
    ) AS chosen ORDER BY received_at, id
"""
_SWEEP = "DELETE FROM payment_callback WHERE NOT authentic AND received_at < $1"

FORGERIES_KEPT = timedelta(days=30)


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


async def insert(connection: Any, callback: Callback) -> int:
    """How often this authentic event was delivered, this time included."""
    deliveries: int = await connection.fetchval(_STORE, *(getattr(callback, name) for name in Callback.__slots__))
    return deliveries


async def list_waiting(connection: Any) -> list[UUID | None]:
    """Payments with callbacks to work off, the longest waiting first. None stands for all that name no payment."""
    return [row["payment_id"] for row in await connection.fetch(_WAITING)]


async def lock_next(connection: Any, payment: UUID | None) -> Any | None:
    """The payment's oldest waiting callback. One process at a time works on a payment, so its order holds.

    The lock comes in a statement of its own: a snapshot taken before it would show what another process has done.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"callbacks of {payment}")
    return await connection.fetchrow(_NEXT, payment)


async def decide(connection: Any, callback: UUID, verdict: str, reason: str | None, at: datetime) -> None:
    await connection.execute(_DECIDE, callback, verdict, reason, at)


async def list_for(connection: Any, payment: UUID, limit: int) -> list[Any]:
    return list(await connection.fetch(_LIST, payment, limit))


async def sweep(connection: Any, now: datetime) -> None:
    """Forgeries are kept for a look at them, not for ever."""
    await connection.execute(_SWEEP, now - FORGERIES_KEPT)
