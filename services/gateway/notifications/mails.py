"""Sending what the mail outbox holds: marked only after the server took it, tried again with growing pauses."""

import logging
from datetime import timedelta
from email.header import Header
from email.headerregistry import BaseHeader, HeaderRegistry, UniqueUnstructuredHeader
from email.message import EmailMessage
from email.policy import EmailPolicy, Policy
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

import aiosmtplib
from prometheus_client import Counter

from services.gateway.notifications.models import Mail
from services.gateway.notifications.repository import MailRepository
from shared.clock import Clock
from shared.db import Database

log = logging.getLogger(__name__)

MAILS = Counter("stowage_gateway_mails_total", "Mails by what became of them", ["outcome"])

ATTEMPTS = 40  # about a day and a half
_LONGEST = timedelta(hours=1)


class _Unbroken(UniqueUnstructuredHeader, BaseHeader):  # type: ignore[misc] # the registry joins them the same way
    """Python's own way of folding loses spaces between encoded words, and breaks addresses that are long."""

    def fold(self, *, policy: Policy) -> str:
        text = str(self)
        if not text.isascii() and not getattr(policy, "utf8", False):
            text = Header(text, header_name=self.name).encode(linesep=policy.linesep)
        return f"{self.name}: {text}{policy.linesep}"


_HEADERS = HeaderRegistry()
for _name in ("subject", "list-unsubscribe"):
    _HEADERS.map_to_type(_name, _Unbroken)
_POLICY = EmailPolicy(header_factory=_HEADERS)


class Postman:
    """`url` is smtp://[user:password@]host:port, or smtps:// for TLS from the first byte."""

    def __init__(self, database: Database, url: str, sender: str, clock: Clock) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or parts.hostname is None:
            raise ValueError("SMTP_URL looks like smtp://host:port")
        tls = parts.scheme == "smtps"
        self._hostname = parts.hostname
        self._port = parts.port or (465 if tls else 587)
        self._tls = tls
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._database = database
        self._sender = sender
        self._clock = clock

    async def send_due(self) -> int:
        """Sends every mail that is due; returns how many the server took."""
        sent = 0
        while True:
            async with self._database.transaction() as connection:
                mails = await MailRepository(connection).lease_due(self._clock.now(), limit=20, attempts=ATTEMPTS)
            if not mails:
                return sent
            for mail in mails:
                sent += await self._send(mail)

    async def _send(self, mail: Mail) -> bool:
        try:
            await aiosmtplib.send(
                message_of(mail, self._sender),
                hostname=self._hostname,
                port=self._port,
                use_tls=self._tls,
                username=self._username,
                password=self._password,
                timeout=20,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:  # ValueError: it cannot be written
            await self._put_off(mail, error)
            return False
        async with self._database.transaction() as connection:
            await MailRepository(connection).mark_sent(mail.id, self._clock.now())
        MAILS.labels("sent").inc()
        return True

    async def _put_off(self, mail: Mail, error: Exception) -> None:
        pause = min(_LONGEST, timedelta(seconds=2) * 2 ** min(mail.attempts, 12))
        async with self._database.transaction() as connection:
            await MailRepository(connection).put_off(mail.id, self._clock.now() + pause, str(error)[:500])
        if mail.attempts >= ATTEMPTS:
            log.error("mail %s is given up: %s", mail.id, type(error).__name__)
            MAILS.labels("given up").inc()
        else:
            log.warning("mail %s waits %s: %s", mail.id, pause, type(error).__name__)
            MAILS.labels("put off").inc()


def message_of(mail: Mail, sender: str) -> EmailMessage:
    """The Message-ID is made of the event's id: should the mark be lost in a crash, the double is recognisable."""
    message = EmailMessage(_POLICY)
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2].rstrip('>') or 'localhost'}>"
    message["Date"] = format_datetime(mail.created_at)
    message["From"] = sender
    message["To"] = mail.recipient
    message["Subject"] = mail.subject
    message["Auto-Submitted"] = "auto-generated"
    if mail.stop_url is not None:
        message["List-Unsubscribe"] = f"<{mail.stop_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(mail.text_body)
    message.add_alternative(mail.html_body, subtype="html")
    return message
