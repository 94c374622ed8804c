"""Events of the other services become notifications and mails, in the consumer's transaction."""

from collections.abc import Sequence
from typing import Any

from services.gateway.notifications.letters import letter_of
from services.gateway.notifications.models import Mail, Notification, Reader
from services.gateway.notifications.refusals import StopLinks
from services.gateway.notifications.repository import MailRepository, NotificationRepository
from services.gateway.notifications.rules import Notice, notice_of
from services.gateway.notifications.texts import DEFAULT, texts_of
from services.gateway.notifications.wording import words_of
from shared.kafka import Record

_Spoken = tuple[Record, Notice]


class NotificationHandlers:
    def __init__(self, base_url: str, stop_links: StopLinks) -> None:
        self._base_url = base_url.rstrip("/")
        self._stop_links = stop_links

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
        mails = MailRepository(connection)
        wanted = [(record.tenant_id, notice.person, notice.subject) for record, notice in spoken]
        readers = await mails.list_readers(wanted)
        # Of a tenant that is gone, or by one who wants no such mails, nothing is read.
        await mails.insert_all(
            [self._mail(*pair, reader) for pair, reader in zip(spoken, readers, strict=True) if reader is not None]
        )

    def _mail(self, record: Record, notice: Notice, reader: Reader) -> Mail:
        stop_url = None if notice.subject is None else self._stop_links.link(reader.user_id, notice.subject)
        letter = letter_of(notice, reader, base_url=self._base_url, stop_url=stop_url)
        return Mail(
            record.id,
            record.tenant_id,
            reader.email,
            letter.subject,
            letter.text,
            letter.html,
            created_at=record.time,
            stop_url=stop_url,
        )


def _notification(record: Record, notice: Notice) -> Notification:
    words = words_of(notice.kind, notice.data, texts_of(DEFAULT), "UTC")
    return Notification(
        record.id, record.tenant_id, notice.kind, words.title, words.body, notice.data, created_at=record.time
    )
