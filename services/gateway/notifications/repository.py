"""All SQL on notifications and mails. Runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.gateway.notifications.models import Mail, Notification

_INSERT = """
    INSERT INTO notification (id, tenant_id, kind, title, body, data, created_at)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::timestamptz[])
    ON CONFLICT (id) DO NOTHING
"""

_INSERT_MAILS = """
    INSERT INTO mail (id, tenant_id, recipient, subject, text_body, html_body, created_at, due_at)
    SELECT m.*, m.created_at
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
        AS m(id, tenant_id, recipient, subject, text_body, html_body, created_at)
    ON CONFLICT (id) DO NOTHING
"""

_LIST = """
    SELECT id, tenant_id, kind, title, body, data, created_at, read_at FROM notification
    WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
    ORDER BY created_at DESC, id DESC LIMIT $4
"""

# The lease keeps other workers away while this one talks to the mail server; it ends by itself if this one dies.
_LEASE = """
    UPDATE mail SET due_at = $1::timestamptz + interval '2 minutes', attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM mail WHERE sent_at IS NULL AND due_at <= $1 AND attempts < $2
        ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, tenant_id, recipient, subject, text_body, html_body, created_at, attempts
"""


class NotificationRepository:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def insert_all(self, found: Sequence[Notification]) -> None:
        """One already there belongs to a redelivered event."""
        columns = (
            [n.id for n in found],
            [n.tenant_id for n in found],
            [n.kind for n in found],
            [n.title for n in found],
        )
        rest = ([n.body for n in found], [n.data for n in found], [n.created_at for n in found])
        await self._connection.execute(_INSERT, *columns, *rest)

    async def list_for(
        self, tenant: UUID, limit: int, before: tuple[datetime, UUID] | None = None
    ) -> list[Notification]:
        """Newest first."""
        at, last = before or (None, None)
        return [Notification(*row.values()) for row in await self._connection.fetch(_LIST, tenant, at, last, limit)]

    async def mark_read(self, tenant: UUID, notification: UUID, at: datetime) -> bool:
        """False when the tenant has no such notification."""
        found = await self._connection.fetchval(
            "UPDATE notification SET read_at = coalesce(read_at, $3) WHERE tenant_id = $1 AND id = $2 RETURNING id",
            tenant,
            notification,
            at,
        )
        return found is not None


class MailRepository:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def insert_all(self, mails: Sequence[Mail]) -> None:
        columns = ([m.id for m in mails], [m.tenant_id for m in mails], [m.recipient for m in mails])
        texts = ([m.subject for m in mails], [m.text_body for m in mails], [m.html_body for m in mails])
        await self._connection.execute(_INSERT_MAILS, *columns, *texts, [m.created_at for m in mails])

    async def lease_due(self, now: datetime, *, limit: int, attempts: int) -> list[Mail]:
        """Mails to send now, kept from other workers for two minutes."""
        return [Mail(*row.values()) for row in await self._connection.fetch(_LEASE, now, attempts, limit)]

    async def mark_sent(self, mail: UUID, at: datetime) -> None:
        await self._connection.execute("UPDATE mail SET sent_at = $2, last_error = NULL WHERE id = $1", mail, at)

    async def put_off(self, mail: UUID, due_at: datetime, error: str) -> None:
        await self._connection.execute(
            "UPDATE mail SET due_at = $2, last_error = $3 WHERE id = $1", mail, due_at, error
        )
