"""An event notifies once: on the page and by mail."""

from uuid import UUID

import pytest

from services.gateway.notifications.handlers import NotificationHandlers
from services.gateway.notifications.rules import notice_of
from shared.db import Database
from shared.events import Metric
from shared.ids import new_id
from shared.kafka import Record
from tests.fixtures.postgres import query
from tests.services.gateway.harness import Gateway, Person
from tests.services.gateway.notifications.samples import cleared, crossed, moved, paid, passed, record

GB = 2**30
HANDLERS = NotificationHandlers("https://stowage.test")


async def _apply(gateway: Gateway, *records: Record) -> None:
    async with Database(gateway.database.worker) as database, database.transaction() as connection:
        await HANDLERS.apply(connection, records)


def _tenant(person: Person) -> UUID:
    return UUID(person.tenant["id"])


@pytest.mark.parametrize(
    ("percent", "kind"), [(80, "storage_warning"), (95, "storage_critical"), (100, "storage_full")]
)
def test_words_for_thresholds(percent: int, kind: str) -> None:
    notice = notice_of(crossed(new_id(), percent))
    assert notice is not None
    assert (notice.kind, notice.mail) == (kind, True)
    assert f"{percent} MB of 100 MB" in notice.body


@pytest.mark.parametrize(
    ("metric", "percent", "used", "limit", "kind", "title", "body"),
    [
        (
            "traffic",
            80,
            4 * GB,
            5 * GB,
            "traffic_warning",
            "80 % of your traffic is used",
            "4 GB of 5 GB are used, 1 G",
        ),
        ("traffic", 95, 5 * GB - 1, 5 * GB, "traffic_critical", "Critical: 95 % of your traffic is used", "next month"),
        ("traffic", 100, 5 * GB, 5 * GB, "traffic_full", "Your traffic is used up", "It begins from nothing"),
        ("images", 80, 40, 50, "images_warning", "80 % of your images of the month are used", "40 of 50 are used, 10"),
        ("images", 100, 50, 50, "images_full", "Your images of the month are used up", "50 of 50 are used. No more"),
        (
            "images",
            None,
            1200,
            None,
            "images_warning",
            "Your images of the month have reached 1,200",
            "1,200 are used.",
        ),
        (
            "requests",
            None,
            10**6,
            None,
            "requests_warning",
            "Your requests have reached 1,000,000",
            "1,000,000 are used",
        ),
        ("disk", None, 5 * GB, None, "disk_warning", "Your disk usage has reached 5 GB", "5 GB are used."),
        ("members", 100, 5, 5, "members_full", "Your seats are taken", "5 of 5 are used. Nobody can be added until"),
        ("projects", 80, 4, 5, "projects_warning", "80 % of your projects are used", "4 of 5 are used, 1 are left."),
        ("credits", 95, 39, 40, "credits_critical", "Critical: 95 % of your credits are used", "39 of 40 are used, 1"),
        ("credits", 100, 40, 40, "credits_full", "Your credits are used up", "Nothing can be paid with them until"),
    ],
)
def test_each_metric_is_called_by_its_name(
    metric: Metric, percent: int | None, used: int, limit: int | None, kind: str, title: str, body: str
) -> None:
    notice = notice_of(passed(metric, percent, used, limit))
    assert notice is not None
    assert (notice.kind, notice.title, notice.data["metric"]) == (kind, title, metric)
    assert body in notice.body
    assert "storage" not in (notice.title + notice.body)


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
    assert [tuple(m) for m in mails] == [(alert.id, person.email, "80 % of your storage is used · Harbour")]


async def test_payment_is_confirmed_by_mail_and_the_plan_by_a_note(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    await _apply(gateway, record(paid(_tenant(person))), record(moved(_tenant(person)), 2))
    _, page = await gateway.call("GET", "/api/notifications", headers=person.bearer)
    assert {n["kind"] for n in page["items"]} == {"payment_completed", "subscription_changed"}
    mails = await query(gateway.database.superuser, "SELECT text_body FROM mail")
    assert len(mails) == 1
    assert "3.00 EUR for the plan Pro" in mails[0][0]


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
