"""One topic's events as they stand in a service's database."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

_FETCH = """
    SELECT e.tenant_id, e.seq, e.id, e.type, e.occurred_at, e.body, e.traceparent
    FROM unnest($1::uuid[], $2::bigint[]) AS t(tenant_id, after)
    CROSS JOIN LATERAL (
        SELECT * FROM {events} AS s WHERE s.tenant_id = t.tenant_id AND s.seq > t.after {only}
        ORDER BY s.seq LIMIT $3
    ) AS e
    ORDER BY e.tenant_id, e.seq
"""

_BEHIND = """
    SELECT h.tenant_id, coalesce(c.published_seq, 0) AS published
    FROM {heads} AS h LEFT JOIN outbox_cursor AS c ON c.topic = '{topic}' AND c.tenant_id = h.tenant_id
    WHERE h.seq > coalesce(c.published_seq, 0) {only}
    LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class Stream:
    """`events` holds (tenant_id, seq, id, type, occurred_at, body, traceparent), `heads` the last (tenant_id, seq)."""

    topic: str
    events: str = "outbox_event"
    heads: str = "outbox_head"

    @property
    def _own(self) -> bool:
        return self.events == "outbox_event"

    def behind_sql(self) -> str:
        return _BEHIND.format(
            heads=self.heads, topic=self.topic, only=f"AND h.topic = '{self.topic}'" if self._own else ""
        )

    def fetch_sql(self) -> str:
        return _FETCH.format(events=self.events, only=f"AND s.topic = '{self.topic}'" if self._own else "")

    async def fetch(self, connection: Any, tenant: UUID, after: int, limit: int) -> list[Any]:
        """The tenant's events past seq `after`, in order."""
        return list(await connection.fetch(self.fetch_sql(), [tenant], [after], limit))
