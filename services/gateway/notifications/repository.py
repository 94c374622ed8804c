"""All SQL on notifications and mails. Runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.gateway.notifications.models import Mail, Notification, Reader

_INSERT = """
    INSERT INTO notification (id, tenant_id, kind, title, body, data, created_at)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::timestamptz[])
    ON CONFLICT (id) DO NOTHING
"""

_INSERT_MAILS = """
    INSERT INTO mail (id, tenant_id, recipient, subject, text_body, html_body, created_at, stop_url, due_at)
    SELECT m.*, m.created_at
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[])
        AS m(id, tenant_id, recipient, subject, text_body, html_body, created_at, stop_url)
    ON CONFLICT (id) DO NOTHING
"""

# Somebody who is in the team no more is told nothing of it.
_READERS = """
    SELECT w.n, p.id AS user_id, p.email, f.name, f.locale, t.name AS tenant_name, t.timezone
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) WITH ORDINALITY AS w(tenant_id, person, subject, n)
    JOIN tenant AS t ON t.id = w.tenant_id
    JOIN membership AS m ON m.tenant_id = t.id AND m.user_id = coalesce(w.person, t.owner_id)
    JOIN person AS p ON p.id = m.user_id
    JOIN profile AS f ON f.user_id = p.id
    WHERE NOT EXISTS (SELECT FROM mail_refusal AS r WHERE r.user_id = p.id AND r.subject = w.subject)
"""

_LIST = """
    SELECT n.id, n.tenant_id, n.kind, n.title, n.body, n.data, n.created_at, n.read_at, t.timezone
    FROM notification AS n JOIN tenant AS t ON t.id = n.tenant_id
    WHERE n.tenant_id = $1 AND ($2::timestamptz IS NULL OR (n.created_at, n.id) < ($2, $3::uuid))
    ORDER BY n.created_at DESC, n.id DESC LIMIT $4
"""

# The lease keeps other workers away while this one talks to the mail server; it ends by itself if this one dies.
_LEASE = """
    UPDATE mail SET due_at = $1::timestamptz + interval '2 minutes', attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM mail WHERE sent_at IS NULL AND due_at <= $1 AND attempts < $2
        ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, tenant_id, recipient, subject, text_body, html_body, created_at, stop_url, attempts
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
        rest = ([m.created_at for m in mails], [m.stop_url for m in mails])
        await self._connection.execute(_INSERT_MAILS, *columns, *texts, *rest)

    async def list_readers(self, wanted: Sequence[tuple[UUID, UUID | None, str | None]]) -> list[Reader | None]:
        """For each tenant, person (None: its owner) and subject who is written to; None where nobody is."""
        columns = [[row[place] for row in wanted] for place in range(3)]
        found = {row["n"]: row for row in await self._connection.fetch(_READERS, *columns)}
        rows = [found.get(number) for number in range(1, len(wanted) + 1)]
        return [None if row is None else Reader(*list(row.values())[1:]) for row in rows]

    async def lease_due(self, now: datetime, *, limit: int, attempts: int) -> list[Mail]:
        """Mails to send now, kept from other workers for two minutes."""
        return [Mail(*row.values()) for row in await self._connection.fetch(_LEASE, now, attempts, limit)]

    async def mark_sent(self, mail: UUID, at: datetime) -> None:
        await self._connection.execute("UPDATE mail SET sent_at = $2, last_error = NULL WHERE id = $1", mail, at)

    async def put_off(self, mail: UUID, due_at: datetime, error: str) -> None:
        await self._connection.execute(
            "UPDATE mail SET due_at = $2, last_error = $3 WHERE id = $1", mail, due_at, error
        )
