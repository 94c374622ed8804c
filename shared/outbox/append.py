"""Writing events in the transaction that made them true."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.events import Event
from shared.ids import new_id
from shared.telemetry import current_traceparent

# The head row is locked by the upsert until the commit: the next writer of this tenant and topic waits,
# so seq has no holes and its order is the order of commits.
_APPEND = """
    WITH head AS (
        INSERT INTO outbox_head AS h (topic, tenant_id, seq) VALUES ($1, $2, $3)
        ON CONFLICT (topic, tenant_id) DO UPDATE SET seq = h.seq + $3
        RETURNING seq
    )
    INSERT INTO outbox_event (topic, tenant_id, seq, id, type, occurred_at, body, traceparent)
    SELECT $1, $2, head.seq - $3 + e.n, e.id, e.type, $7, e.body, e.traceparent
    FROM head,
        unnest($4::uuid[], $5::text[], $6::text[], $8::text[]) WITH ORDINALITY AS e(id, type, body, traceparent, n)
    RETURNING seq
"""


async def append(
    connection: Any,
    events: Sequence[Event],
    *,
    at: datetime,
    traceparents: Sequence[str | None] | None = None,
) -> list[int]:
    """Appends events of one tenant and one topic in their order; returns their seqs.

    Runs in the caller's transaction. The current trace goes along unless each event brings its own.
    """
    if not events:
        return []
    topic, tenant = events[0].topic, events[0].tenant_id
    if any(event.topic != topic or event.tenant_id != tenant for event in events):
        raise ValueError("one append is one tenant and one topic")
    if traceparents is None:
        traceparents = [current_traceparent()] * len(events)
    ids: list[UUID] = [new_id() for _ in events]
    rows = await connection.fetch(
        _APPEND,
        topic,
        tenant,
        len(events),
        ids,
        [event.type for event in events],
        [event.body() for event in events],
        at,
        list(traceparents),
    )
    return sorted(row["seq"] for row in rows)


async def hold(connection: Any, topic: str, tenant: UUID) -> None:
    """The tenant's place in the stream is the caller's until the commit. For whoever takes a lock that all tenants
    share before the event can be written: so both are taken in one order, and nobody waits in a circle.
    """
    await connection.execute("SELECT 1 FROM outbox_head WHERE topic = $1 AND tenant_id = $2 FOR UPDATE", topic, tenant)
