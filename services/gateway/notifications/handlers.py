"""Events of usage and billing become notifications and mails, in the consumer's transaction."""

from collections.abc import Sequence
from typing import Any

from services.gateway.notifications.letters import letter_of
from services.gateway.notifications.models import Mail, Notification
from services.gateway.notifications.repository import MailRepository, NotificationRepository
from services.gateway.notifications.rules import Notice, notice_of
from services.gateway.tenants.repository import TenantRepository
from shared.kafka import Record

_Spoken = tuple[Record, Notice]


class NotificationHandlers:
    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")

    async def apply(self, connection: Any, records: Sequence[Record]) -> None:
        """Called with new records only; the event's id as primary key would stop a repeat all the same."""
        spoken = [(r, notice) for r in records if r.event is not None and (notice := notice_of(r.event)) is not None]
        if not spoken:
            return
        await NotificationRepository(connection).insert_all(
            [_notification(record, notice) for record, notice in spoken if notice.note]
        )
        await self._write_mails(connection, [pair for pair in spoken if pair[1].mail])

    async def _write_mails(self, connection: Any, spoken: Sequence[_Spoken]) -> None:
        if not spoken:
            return
        owners = await TenantRepository(connection).find_owners([record.tenant_id for record, _ in spoken])
        # A tenant that is gone has nobody to write to.
        mails = [self._mail(r, n, owners[r.tenant_id]) for r, n in spoken if r.tenant_id in owners]
        await MailRepository(connection).insert_all(mails)

    def _mail(self, record: Record, notice: Notice, owner: Any) -> Mail:
        letter = letter_of(notice, tenant=owner["name"], person=owner["owner_name"], base_url=self._base_url)
        return Mail(
            record.id,
            record.tenant_id,
            owner["email"],
            letter.subject,
            letter.text,
            letter.html,
            created_at=record.time,
        )


def _notification(record: Record, notice: Notice) -> Notification:
    return Notification(
        record.id, record.tenant_id, notice.kind, notice.title, notice.body, notice.data, created_at=record.time
    )
