"""Mail through a real SMTP server: once, marked after it was taken, tried again when it was not."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from services.gateway.notifications.mails import ATTEMPTS, MAILS, Postman
from shared.clock import FixedClock
from shared.db import Database
from tests.fixtures.postgres import query
from tests.services.gateway.harness import Gateway
from tests.services.gateway.notifications.conftest import Inbox
from tests.services.gateway.notifications.samples import AT, apply, crossed, record

SENDER = "Stowage <notices@stowage.test>"


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
    assert mail["Auto-Submitted"] == "auto-generated"
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


def _counted(outcome: str) -> float:
    return float(MAILS.labels(outcome)._value.get())


async def _state(gateway: Gateway) -> list[tuple[Any, ...]]:
    rows = await query(gateway.database.superuser, "SELECT sent_at, attempts, last_error FROM mail ORDER BY recipient")
    return [tuple(row) for row in rows]


async def test_a_mail_that_cannot_be_written_keeps_no_other_from_going(
    gateway: Gateway, inbox: tuple[Inbox, str]
) -> None:
    """An address that would smuggle commands is refused by the library, before anything is sent."""
    bad, good = await _alert(gateway), await _alert(gateway)
    await query(gateway.database.superuser, "UPDATE mail SET recipient = 'a b> x@example.test' WHERE id = $1", bad)
    await query(gateway.database.superuser, "UPDATE mail SET due_at = $2 WHERE id = $1", bad, AT - timedelta(minutes=1))
    async with Database(gateway.database.worker) as database:
        assert await Postman(database, inbox[1], SENDER, FixedClock(AT)).send_due() == 1
    assert [mail["Message-ID"] for mail in inbox[0].mails] == [f"<{good}@stowage.test>"]
    assert (await _state(gateway))[0][:2] == (None, 1)
    assert (await _state(gateway))[0][2]


async def test_a_mail_that_is_given_up_is_counted_and_stays(gateway: Gateway, inbox: tuple[Inbox, str]) -> None:
    await _alert(gateway)
    clock, before = FixedClock(AT), (_counted("put off"), _counted("given up"))
    inbox[0].closed = True
    async with Database(gateway.database.worker) as database:
        postman = Postman(database, inbox[1], SENDER, clock)
        await query(gateway.database.superuser, "UPDATE mail SET attempts = $1", ATTEMPTS - 2)
        for _ in range(3):
            assert await postman.send_due() == 0
            clock.advance(timedelta(hours=2))
    assert (_counted("put off") - before[0], _counted("given up") - before[1]) == (1, 1)
    [(sent_at, attempts, error)] = await _state(gateway)
    assert (sent_at, attempts) == (None, ATTEMPTS)
    assert "try again later" in error
