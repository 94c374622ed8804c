"""An event notifies once: on the page and by mail."""

from uuid import UUID

import pytest

from services.gateway.notifications.rules import notice_of
from services.gateway.notifications.texts import texts_of
from services.gateway.notifications.wording import words_of
from shared.events import Event, Metric
from shared.ids import new_id
from shared.kafka import Record
from tests.fixtures.postgres import query
from tests.services.gateway.harness import Gateway, Person
from tests.services.gateway.notifications.samples import (
    apply,
    cleared,
    crossed,
    due,
    exported,
    failed,
    fallen,
    moved,
    not_exported,
    paid,
    passed,
    record,
    refunded,
)

GB = 2**30


async def _apply(gateway: Gateway, *records: Record) -> None:
    await apply(gateway.database.worker, *records)


def _tenant(person: Person) -> UUID:
    return UUID(person.tenant["id"])


def _said(event: Event) -> tuple[str, str, str]:
    """Kind, title and body in English."""
    notice = notice_of(event)
    assert notice is not None
    words = words_of(notice.kind, notice.data, texts_of("en"), "UTC")
    return notice.kind, words.title, words.body


@pytest.mark.parametrize(
    ("percent", "kind"), [(80, "storage_warning"), (95, "storage_critical"), (100, "storage_full")]
)
def test_words_for_thresholds(percent: int, kind: str) -> None:
    found, _, body = _said(crossed(new_id(), percent))
    assert found == kind
    assert f"{percent} MB of 100 MB" in body


@pytest.mark.parametrize(
    ("metric", "percent", "used", "limit", "kind", "title", "body"),
    [
        ("traffic", 80, 4 * GB, 5 * GB, "traffic_warning", "Traffic: 80 % used", "4 GB of 5 GB used, 1 GB left."),
        ("traffic", 95, 5 * GB - 1, 5 * GB, "traffic_critical", "Critical: Traffic, 95 % used", "next month"),
        ("traffic", 100, 5 * GB, 5 * GB, "traffic_full", "Traffic: limit reached", "starts again from zero"),
        ("images", 80, 40, 50, "images_warning", "Images of the month: 80 % used", "40 of 50 used, 10 left."),
        ("images", 100, 50, 50, "images_full", "Images of the month: limit reached", "50 of 50 used. No more"),
        ("images", None, 1200, None, "images_warning", "Images of the month: 1,200 reached", "1,200 used."),
        ("requests", None, 10**6, None, "requests_warning", "Requests: 1,000,000 reached", "1,000,000 used."),
        ("disk", None, 5 * GB, None, "disk_warning", "Disk usage: 5 GB reached", "5 GB used."),
        ("members", 100, 5, 5, "members_full", "Seats: limit reached", "5 of 5 used. Nobody can be added until"),
        ("projects", 80, 4, 5, "projects_warning", "Projects: 80 % used", "4 of 5 used, 1 left."),
        ("credits", 95, 39, 40, "credits_critical", "Critical: Credits, 95 % used", "39 of 40 used, 1 left."),
        ("credits", 100, 40, 40, "credits_full", "Credits: limit reached", "Nothing can be paid with credits until"),
    ],
)
def test_each_metric_is_called_by_its_name(
    metric: Metric, percent: int | None, used: int, limit: int | None, kind: str, title: str, body: str
) -> None:
    event = passed(metric, percent, used, limit)
    found = _said(event)
    assert found[:2] == (kind, title)
    assert body in found[2]
    assert "torage" not in found[1] + found[2]


def test_what_says_nothing() -> None:
    assert notice_of(crossed(new_id(), 80, speaks=False)) is None
    assert notice_of(cleared(new_id(), 80)) is None
    assert notice_of(moved(new_id(), None)) is None


async def test_an_event_twice_notifies_once(gateway: Gateway) -> None:
    person = await gateway.sign_up("Harbour")
    alert = record(crossed(_tenant(person), 80))
    await _apply(gateway, alert, record(cleared(_tenant(person), 80), 2))
    await _apply(gateway, alert)
    status, page = await gateway.call("GET", "/api/notifications", headers=person.bearer)
    assert status == 200
    assert [(n["kind"], n["data"]["percent"], n["read_at"]) for n in page["items"]] == [("storage_warning", 80, None)]
    assert page["items"][0]["id"] == str(alert.id)
    mails = await query(gateway.database.superuser, "SELECT id, recipient, subject FROM mail")
    assert [tuple(m) for m in mails] == [(alert.id, person.email, "Storage: 80 % used · Harbour")]


def _tellings(tenant: UUID, by: UUID) -> list[tuple[Event, str, str, str]]:
    """What happens, the kind it is told as, the subject of the mail, and what the mail must say."""
    return [
        (paid(tenant), "payment_completed", "Payment received", "We received 3.00 EUR for the plan Pro."),
        (paid(tenant, None), "payment_completed", "Payment received", "We received 3.00 EUR."),
        (failed(tenant), "payment_failed", "Payment failed", "3.00 EUR did not go through. Nothing was charged."),
        (refunded(tenant, "provider"), "payment_refunded", "Payment refunded", "3.00 EUR is on its way back to you."),
        (refunded(tenant, "credit"), "payment_refunded", "Payment refunded", "You have credits for it instead."),
        (refunded(tenant, "due"), "payment_refunded", "Payment refunded", "We will give it back to you."),
        (due(tenant, 1), "invoice_due", "Your next period begins", "Invoice ST-7 for 1,234.50 EUR is open."),
        (due(tenant, 3), "invoice_due", "Reminder: an invoice is open", "Please pay it by 14 March 2026;"),
        (moved(tenant), "subscription_changed", "Your plan is now Pro", "Your team went from Free to Pro.\n"),
        (
            fallen(tenant, unpaid=False),
            "subscription_changed",
            "Your plan is now Free",
            "Your team went from Pro to Free. Lower limits from now on: Storage 100 MB, Seats 1. Nothing is deleted.",
        ),
        (
            fallen(tenant, unpaid=True),
            "subscription_changed",
            "Your plan is now Free",
            "An invoice was not paid in time, so your team went from Pro to Free. Lower limits from now on: Storage",
        ),
        (exported(tenant, by), "export_ready", "Your export is ready", "It has 1.5 GB and can be downloaded until 1 M"),
        (exported(tenant, None, complete=False), "export_ready", "Your export is ready", "the archive lists them."),
        (
            not_exported(tenant, by),
            "export_failed",
            "Your export could not be made",
            "It failed however often it was tried. Nothing of what you store is lost. Please ask for a new one.",
        ),
    ]


@pytest.mark.parametrize("number", range(14))
async def test_each_is_told_once_by_note_and_mail_whatever_is_redelivered(gateway: Gateway, number: int) -> None:
    person = await gateway.sign_up("Harbour")
    event, kind, title, said = _tellings(_tenant(person), UUID(person.user["id"]))[number]
    told = record(event)
    for _ in range(3):
        await _apply(gateway, told)
    await _apply(gateway, told, told)
    _, page = await gateway.call("GET", "/api/notifications", headers=person.bearer)
    assert [(n["id"], n["kind"], n["title"]) for n in page["items"]] == [(str(told.id), kind, title)]
    mails = await query(gateway.database.superuser, "SELECT id, recipient, subject, text_body, html_body FROM mail")
    assert [tuple(mail)[:3] for mail in mails] == [(told.id, person.email, f"{title} · Harbour")]
    assert said in mails[0]["text_body"]
    assert said.rstrip() in mails[0]["html_body"]
    assert said.rstrip() in page["items"][0]["body"]


async def test_a_mail_leads_to_what_can_be_done(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    tenant, export = _tenant(person), exported(_tenant(person), UUID(person.user["id"]))
    broken = not_exported(tenant, UUID(person.user["id"]))
    await _apply(gateway, record(failed(tenant)), record(due(tenant, 2), 2), record(export), record(broken, 2))
    mails = await query(gateway.database.superuser, "SELECT subject, text_body FROM mail ORDER BY subject")
    leads = [
        "Try again: https://stowage.test/app/plans\n",
        "Pay the invoice: https://stowage.test/app/plans#invoices\n",
        f"Download the export: https://stowage.test/app/exports/{export.export_id}\n",
        f"Open your storage: https://stowage.test/app/exports/{broken.export_id}\n",
    ]
    assert sum(lead in mail["text_body"] for mail in mails for lead in leads) == 4


async def test_whoever_asked_for_an_export_hears_of_it(gateway: Gateway) -> None:
    """Not the owner; and nobody who has left the team meanwhile."""
    owner, asked, left = [await gateway.sign_up() for _ in range(3)]
    await query(
        gateway.database.superuser,
        "INSERT INTO membership VALUES ($1, $2, 'admin', now())",
        _tenant(owner),
        UUID(asked.user["id"]),
    )
    for number, who in enumerate((asked, left), 1):
        await _apply(gateway, record(exported(_tenant(owner), UUID(who.user["id"])), number))
    mails = await query(gateway.database.superuser, "SELECT recipient FROM mail")
    assert [mail["recipient"] for mail in mails] == [asked.email]
    assert len((await gateway.call("GET", "/api/notifications", headers=owner.bearer))[1]["items"]) == 2


async def test_dates_are_the_teams(gateway: Gateway) -> None:
    """Half past eleven at night in UTC is the next day in Berlin."""
    person = await gateway.sign_up()
    slug = person.tenant["slug"]
    await gateway.call("PATCH", f"/api/tenants/{slug}", json={"timezone": "Europe/Berlin"}, headers=person.bearer)
    await _apply(gateway, record(due(_tenant(person), 1)))
    mails = await query(gateway.database.superuser, "SELECT text_body FROM mail")
    assert "by 15 March 2026" in mails[0]["text_body"]
    _, page = await gateway.call("GET", "/api/notifications", headers=person.bearer)
    assert "by 15 March 2026" in page["items"][0]["body"]


async def test_a_note_from_before_it_had_languages_is_shown_as_it_was_written(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    await query(
        gateway.database.superuser,
        "INSERT INTO notification VALUES (gen_random_uuid(), $1, 'storage_warning', 'Old title', 'Old body', "
        """'{"metric": "storage", "percent": 80, "used": 1, "limit": 2}', now())""",
        _tenant(person),
    )
    _, page = await gateway.call("GET", "/api/notifications", headers=person.bearer)
    assert [(n["title"], n["body"]) for n in page["items"]] == [("Old title", "Old body")]


async def test_payment_is_confirmed_by_mail_and_the_plan_by_a_note(gateway: Gateway) -> None:
    """And by a mail, each of its own."""
    person = await gateway.sign_up()
    await _apply(gateway, record(paid(_tenant(person))), record(moved(_tenant(person)), 2))
    _, page = await gateway.call("GET", "/api/notifications", headers=person.bearer)
    assert {n["kind"] for n in page["items"]} == {"payment_completed", "subscription_changed"}
    mails = await query(gateway.database.superuser, "SELECT text_body FROM mail ORDER BY subject")
    assert ["for the plan Pro" in mail[0] for mail in mails] == [True, False]


async def test_unknown_tenant_gets_no_mail_and_stops_nobody(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    await _apply(gateway, record(crossed(new_id(), 80)), record(crossed(_tenant(person), 95)))
    mails = await query(gateway.database.superuser, "SELECT recipient FROM mail")
    assert [m[0] for m in mails] == [person.email]


async def test_pages_of_notifications_and_reading_them(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    await _apply(gateway, *(record(crossed(_tenant(person), 80), seq) for seq in range(1, 6)))
    seen: list[str] = []
    cursor = ""
    while True:
        _, page = await gateway.call("GET", f"/api/notifications?limit=2{cursor}", headers=person.bearer)
        seen += [n["id"] for n in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 5
    assert (await gateway.call("POST", f"/api/notifications/{seen[0]}/read", headers=person.bearer))[0] == 204
    _, page = await gateway.call("GET", "/api/notifications", headers=person.bearer)
    assert [n["id"] for n in page["items"] if n["read_at"]] == [seen[0]]


async def test_another_tenants_notification_does_not_exist(gateway: Gateway) -> None:
    person, other = await gateway.sign_up(), await gateway.sign_up()
    alert = record(crossed(_tenant(person), 80))
    await _apply(gateway, alert)
    assert (await gateway.call("GET", "/api/notifications", headers=other.bearer))[1]["items"] == []
    answers = [
        await gateway.call("POST", f"/api/notifications/{identity}/read", headers=other.bearer)
        for identity in (alert.id, new_id())
    ]
    assert [(status, problem["code"]) for status, problem in answers] == [(404, "notification_not_found")] * 2


async def test_cursor_of_something_else(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    for cursor in ("x", "WzFd", "WzEsMl0"):
        status, problem = await gateway.call("GET", f"/api/notifications?cursor={cursor}", headers=person.bearer)
        assert (status, problem["code"]) == (422, "invalid_cursor")
