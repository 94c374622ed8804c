"""No more mails of one kind: by one click in a mail program (RFC 8058), by the page, and by the account."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from services.gateway.main import stop_links
from services.gateway.notifications.handlers import NotificationHandlers
from services.gateway.notifications.mails import Postman
from services.gateway.notifications.rules import SUBJECTS
from shared.clock import FixedClock
from shared.db import Database
from shared.events import Event
from shared.ids import new_id
from tests.fixtures.postgres import query
from tests.services.gateway.harness import Gateway, Person
from tests.services.gateway.notifications.conftest import Inbox
from tests.services.gateway.notifications.samples import (
    AT,
    crossed,
    due,
    exported,
    failed,
    fallen,
    moved,
    paid,
    record,
    refunded,
)

SETTINGS = "/api/notifications/settings"


async def _tell(gateway: Gateway, inbox: tuple[Inbox, str], *events: Event) -> list[Any]:
    """What arrives of it."""
    handlers = NotificationHandlers(gateway.settings.base_url, stop_links(gateway.settings))
    inbox[0].mails.clear()
    async with Database(gateway.database.worker) as database:
        async with database.transaction() as connection:
            await handlers.apply(connection, [record(event) for event in events])
        await Postman(database, inbox[1], "Stowage <notices@stowage.test>", FixedClock(AT)).send_due()
    return list(inbox[0].mails)


def _path(mail: Any) -> str:
    """Of the header's address, to be asked of the gateway of the test."""
    address = urlsplit(str(mail["List-Unsubscribe"]).strip("<>"))
    return f"{address.path}?{address.query}"


def _tenant(person: Person) -> UUID:
    return UUID(person.tenant["id"])


async def _click(gateway: Gateway, path: str, **headers: str) -> int:
    """As a mail program does: no cookie, no token, one field."""
    form = {"List-Unsubscribe": "One-Click"}
    async with gateway.http.post(gateway.url + path, data=form, headers=headers, allow_redirects=False) as answer:
        return answer.status


async def test_one_click_stops_mails_of_that_kind_only(gateway: Gateway, inbox: tuple[Inbox, str]) -> None:
    person = await gateway.sign_up("Harbour")
    tenant = _tenant(person)
    [mail] = await _tell(gateway, inbox, crossed(tenant, 80))
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["List-Unsubscribe"].startswith(f"<{gateway.settings.base_url}/api/notifications/unsubscribe?")
    assert mail["List-Unsubscribe"].strip("<>") in mail.get_body(("plain",)).get_content()
    assert await _click(gateway, _path(mail)) == 200
    assert await _click(gateway, _path(mail)) == 200, "safe to repeat"
    assert await _tell(gateway, inbox, crossed(tenant, 95)) == []
    others = await _tell(gateway, inbox, moved(tenant), exported(tenant, None), paid(tenant), failed(tenant))
    assert len(others) == 4
    _, page = await gateway.call("GET", "/api/notifications", headers=person.bearer)
    assert "storage_critical" in {note["kind"] for note in page["items"]}, "it is still told in the app"


async def test_what_concerns_money_is_mailed_whatever_was_refused(gateway: Gateway, inbox: tuple[Inbox, str]) -> None:
    person = await gateway.sign_up()
    tenant, none = _tenant(person), {"mails": dict.fromkeys(SUBJECTS, False)}
    assert (await gateway.call("PUT", SETTINGS, json=none, headers=person.bearer))[0] == 200
    money = [paid(tenant), failed(tenant), refunded(tenant, "credit"), due(tenant, 1), due(tenant, 2)]
    mails = await _tell(gateway, inbox, *money)
    assert len(mails) == 5
    assert [mail for mail in mails if "List-Unsubscribe" in mail or "List-Unsubscribe-Post" in mail] == []
    assert await _tell(gateway, inbox, crossed(tenant, 100), fallen(tenant, unpaid=True), exported(tenant, None)) == []


async def test_the_page_asks_in_the_readers_language_and_changes_nothing_before(
    gateway: Gateway, inbox: tuple[Inbox, str]
) -> None:
    """Mail scanners open every link."""
    person = await gateway.sign_up()
    await gateway.call("PATCH", "/api/me", json={"locale": "ar"}, headers=person.bearer)
    [mail] = await _tell(gateway, inbox, crossed(_tenant(person), 80))
    path = _path(mail)
    async with gateway.http.get(gateway.url + path) as answer:
        page = await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
    assert 'lang="ar" dir="rtl"' in page
    assert "مساحة التخزين" in page
    assert re.search(r'<form method="post">', page)
    assert len(await _tell(gateway, inbox, crossed(_tenant(person), 95))) == 1
    # Signed in, in a browser, the page's form works without a token of ours: the link is the permission.
    login = {"email": person.email, "password": "correct horse 7"}
    async with gateway.http.post(f"{gateway.url}/api/auth/login", json=login) as answer:
        token = (await answer.json())["access_token"]
    cookie = {"cookie": f"stowage_access={token}"}
    assert await _click(gateway, path, **cookie) == 200
    assert await _tell(gateway, inbox, crossed(_tenant(person), 100)) == []


async def test_forged_links_do_nothing(gateway: Gateway, inbox: tuple[Inbox, str]) -> None:
    person, other = await gateway.sign_up(), await gateway.sign_up()
    [mail] = await _tell(gateway, inbox, crossed(_tenant(person), 80))
    path = _path(mail)
    signature = parse_qs(urlsplit(path).query)["sig"][0]
    forged = [
        path.replace("about=storage", "about=plan"),
        path.replace(person.user["id"], other.user["id"]),
        path.replace(signature, "A" * 43),
        path.replace(signature, ""),
    ]
    for wrong in forged:
        assert wrong != path
        for method in ("GET", "POST"):
            status, problem = await gateway.call(method, wrong)
            assert (status, problem["code"]) == (403, "unsubscribe_invalid")
    assert (await gateway.call("POST", path.replace("about=storage", "about=payments")))[0] == 422
    assert (await query(gateway.database.superuser, "SELECT count(*) AS n FROM mail_refusal"))[0]["n"] == 0
    # Of somebody who is no more: nothing to say, and nothing breaks.
    gone = stop_links(gateway.settings).link(new_id(), "plan").removeprefix(gateway.settings.base_url)
    assert await _click(gateway, gone) == 200


async def test_refused_and_wanted_again_in_the_account(gateway: Gateway, inbox: tuple[Inbox, str]) -> None:
    person, other = await gateway.sign_up(), await gateway.sign_up()
    [mail] = await _tell(gateway, inbox, moved(_tenant(person)))
    await _click(gateway, _path(mail))
    _, found = await gateway.call("GET", SETTINGS, headers=person.bearer)
    assert found == {"mails": {subject: subject != "plan" for subject in SUBJECTS}}
    _, untouched = await gateway.call("GET", SETTINGS, headers=other.bearer)
    assert set(untouched["mails"].values()) == {True}
    status, found = await gateway.call("PUT", SETTINGS, json={"mails": {"export": False}}, headers=person.bearer)
    assert (status, found["mails"]["plan"], found["mails"]["export"]) == (200, True, False)
    assert (await gateway.call("GET", SETTINGS, headers=person.bearer))[1] == found
    mails = await _tell(gateway, inbox, moved(_tenant(person)), exported(_tenant(person), None))
    assert [mail["Subject"].split(" ·")[0] for mail in mails] == ["Your plan is now Pro"]


@pytest.mark.parametrize("body", [{}, {"mails": {"payments": False}}, {"mails": {"plan": "maybe"}}, {"mails": []}])
async def test_settings_that_make_no_sense(gateway: Gateway, body: dict[str, Any]) -> None:
    person = await gateway.sign_up()
    assert (await gateway.call("PUT", SETTINGS, json=body, headers=person.bearer))[0] == 422
    assert (await gateway.call("GET", SETTINGS))[0] == 401
