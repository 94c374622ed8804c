"""Mail through a real SMTP server: once, marked after it was taken, tried again when it was not."""

import email
import email.policy
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller

from services.gateway.notifications.mails import Postman
from shared.clock import FixedClock
from shared.db import Database
from tests.fixtures.postgres import free_port, query
from tests.services.gateway.harness import Gateway
from tests.services.gateway.notifications.samples import AT, apply, crossed, record

SENDER = "Stowage <notices@stowage.test>"


class Inbox:
    """Takes mail, or says for now that it does not."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.closed = False

    async def handle_DATA(self, _server: object, _session: object, envelope: object) -> str:  # noqa: N802
        if self.closed:
            return "451 try again later"
        content: bytes = envelope.content  # type: ignore[attr-defined]
        self.mails.append(email.message_from_bytes(content, policy=email.policy.default))
        return "250 OK"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, str]]:
    handler = Inbox()
    port = free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    yield handler, f"smtp://127.0.0.1:{port}"
    controller.stop()


async def _alert(gateway: Gateway, name: str = "Harbour") -> UUID:
    person = await gateway.sign_up(name)
    alert = record(crossed(UUID(person.tenant["id"]), 95))
    await apply(gateway.database.worker, alert)
    return alert.id


async def test_a_mail_goes_once_in_both_forms(gateway: Gateway, inbox: tuple[Inbox, str]) -> None:
    event = await _alert(gateway, "Harbour <b>& Co</b>")
    async with Database(gateway.database.worker) as database:
        postman = Postman(database, inbox[1], SENDER, FixedClock(AT))
        assert await postman.send_due() == 1
        assert await postman.send_due() == 0
    mail = inbox[0].mails[0]
    assert len(inbox[0].mails) == 1
    assert mail["Message-ID"] == f"<{event}@stowage.test>"
    assert mail["To"] == "person1@example.test"
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert "95 MB of 100 MB" in text.get_content()
    assert "https://stowage.test/app/plans" in html.get_content()
    assert "Harbour &lt;b&gt;&amp; Co" in html.get_content()


async def test_refused_mail_is_tried_again_later(gateway: Gateway, inbox: tuple[Inbox, str]) -> None:
    await _alert(gateway)
    clock = FixedClock(AT)
    inbox[0].closed = True
    async with Database(gateway.database.worker) as database:
        postman = Postman(database, inbox[1], SENDER, clock)
        assert await postman.send_due() == 0
        rows = await query(gateway.database.superuser, "SELECT sent_at, attempts, last_error, due_at FROM mail")
        assert (rows[0]["sent_at"], rows[0]["attempts"]) == (None, 1)
        assert "try again later" in rows[0]["last_error"]
        assert rows[0]["due_at"] == AT + timedelta(seconds=4)
        inbox[0].closed = False
        assert await postman.send_due() == 0  # not before its time
        clock.advance(timedelta(seconds=5))
        assert await postman.send_due() == 1


async def test_a_worker_that_died_leaves_the_mail_to_another(gateway: Gateway, inbox: tuple[Inbox, str]) -> None:
    await _alert(gateway)
    clock = FixedClock(AT)
    async with Database(gateway.database.worker) as database:
        # The lease of the one that died.
        await query(gateway.database.superuser, "UPDATE mail SET due_at = $1", AT + timedelta(minutes=2))
        postman = Postman(database, inbox[1], SENDER, clock)
        assert await postman.send_due() == 0
        clock.advance(timedelta(minutes=3))
        assert await postman.send_due() == 1


async def test_no_server_is_no_loss(gateway: Gateway) -> None:
    await _alert(gateway)
    async with Database(gateway.database.worker) as database:
        assert await Postman(database, "smtp://127.0.0.1:9", SENDER, FixedClock(AT)).send_due() == 0
    rows = await query(gateway.database.superuser, "SELECT sent_at, attempts FROM mail")
    assert tuple(rows[0]) == (None, 1)
