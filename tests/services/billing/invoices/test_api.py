"""Invoices through HTTP, as a team's managers and as administrators of the platform meet them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from services.billing.invoices.repository import Invoice
from shared.security import Principal, sign
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.door import SECRET
from tests.services.billing.invoices.books import PRO, TRAFFIC, Books, open_books
from tests.services.billing.world import Team, World, running

STAFF = Principal(kind="user", user_id=uuid4(), is_admin=True)


@pytest.fixture
async def books(billing_db: ServiceDatabase, world: World) -> AsyncIterator[Books]:
    assert world.dsn == billing_db
    async with open_books(billing_db) as opened:
        yield opened


async def file(world: World, path: str, team: Team) -> tuple[int, bytes, Any]:
    headers = {"stowage-internal": sign(team.principal, secret=SECRET, audience="billing", issuer="gateway")}
    async with world.http.get(world.url + path, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_list_in_pages_and_narrowed(world: World, books: Books) -> None:
    team = Team()
    issued = [await books.issue(team.tenant, payment_id=uuid4() if n % 2 else None) for n in range(4)]
    note = await books.credit(issued[0])
    seen, cursor = [], ""
    for _ in range(3):
        status, page = await world.call("GET", f"/api/invoices?limit=2{cursor}", who=team.principal)
        assert status == 200
        seen += [item["number"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert seen == [invoice.number for invoice in [note, *reversed(issued)]]
    for narrowed, count in [("kind=credit_note", 1), ("status=paid", 3), ("status=open&kind=invoice", 1)]:
        _, page = await world.call("GET", f"/api/invoices?{narrowed}", who=team.principal)
        assert len(page["items"]) == count, narrowed
    _, page = await world.call("GET", "/api/invoices?since=2026-11-22T10:00:01Z", who=team.principal)
    assert page["items"] == []
    for wrong in ("kind=x", "since=yesterday", "cursor=W10", "limit=0"):
        assert (await world.call("GET", f"/api/invoices?{wrong}", who=team.principal))[0] == 422


async def test_one_whole(world: World, books: Books) -> None:
    team = Team()
    invoice = await books.issue(team.tenant, PRO, TRAFFIC)
    status, body = await world.call("GET", f"/api/invoices/{invoice.id}", who=team.principal)
    assert status == 200
    assert (body["net"], body["tax"], body["gross"], body["credited"]) == ("8.40", "1.60", "10.00", "0.00")
    assert [(line["net"], line["tax_rate"], line["tax"]) for line in body["lines"]] == [
        ("3.00", "19", "0.57"),
        ("5.40", "19", "1.03"),
    ]
    assert (body["seller"]["name"], body["buyer"]["country"]) == ("Stowage Storage GmbH", "DE")


async def test_the_pdf_is_made_once_and_kept(world: World, books: Books) -> None:
    team = Team()
    invoice = await books.issue(team.tenant)
    path = f"/api/invoices/{invoice.id}.pdf"
    answers = await asyncio.gather(*[file(world, path, team) for _ in range(4)])
    assert {(status, body) for status, body, _ in answers} == {(200, answers[0][1])}
    headers = answers[0][2]
    assert headers["content-type"] == "application/pdf"
    assert headers["content-disposition"] == 'attachment; filename="INV-2026-000001.pdf"'
    assert headers["etag"] == f'"{hashlib.sha256(answers[0][1]).hexdigest()}"'
    await books.pay(invoice, uuid4())
    assert (await file(world, path, team))[1] == answers[0][1]
    rows = await query(world.dsn.worker, "SELECT content FROM invoice_document")
    assert [row["content"] for row in rows] == [answers[0][1]]
    status, xml, headers = await file(world, f"/api/invoices/{invoice.id}.xml", team)
    assert (status, headers["content-type"]) == (200, "application/xml")
    assert b"urn:cen.eu:en16931:2017" in xml


async def test_what_lacks_fonts_is_not_kept(billing_db: ServiceDatabase, tmp_path: Any) -> None:
    async with running(billing_db, invoice_fonts=tmp_path) as world, open_books(billing_db) as books:
        team = Team()
        await books.buyer(team.tenant, name="株式会社", language="ja")
        invoice = await books.issue(team.tenant, currency="KWD")
        assert (await file(world, f"/api/invoices/{invoice.id}.pdf", team))[0] == 200
        assert await query(billing_db.worker, "SELECT 1 FROM invoice_document") == []
        status, body, _ = await file(world, f"/api/invoices/{invoice.id}.xml", team)
        assert (status, b"invoice_has_no_xml" in body) == (404, True)


async def test_money_pages_are_the_managers_and_their_own(world: World, books: Books) -> None:
    team = Team()
    invoice = await books.issue(team.tenant)
    await file(world, f"/api/invoices/{invoice.id}.pdf", team)  # kept, and still nobody else's
    paths = ["/api/invoices", *(f"/api/invoices/{invoice.id}{ending}" for ending in ("", ".pdf", ".xml"))]
    member, eve = Team(tenant=team.tenant, role="member"), Team(slug="eve")
    for path in paths:
        status, body = await world.call("GET", path, who=member.principal)
        assert (status, body["code"]) == (403, "manager_required"), path
        async with world.http.get(world.url + path) as answer:
            assert answer.status == 401
        if path != "/api/invoices":
            status, body = await world.call("GET", path, who=eve.principal)
            assert (status, body["code"]) == (404, "invoice_not_found"), path
    assert (await world.call("GET", "/api/invoices", who=eve.principal))[1]["items"] == []
    assert (await world.call("GET", "/api/invoices/nonsense.pdf", who=team.principal))[0] == 422


async def credit(world: World, invoice: Invoice, who: Principal = STAFF, **body: Any) -> tuple[int, Any]:
    told = {"tenant_id": str(invoice.tenant_id), "reason": "Given back", **body}
    return await world.call("POST", f"/api/admin/invoices/{invoice.id}/credit-notes", told, who=who)


async def test_staff_gives_credit(world: World, books: Books) -> None:
    team = Team()
    invoice = await books.issue(team.tenant, PRO, TRAFFIC, payment_id=uuid4())
    assert (await credit(world, invoice, who=team.principal))[1]["code"] == "admin_required"
    status, body = await credit(world, invoice, tenant_id=str(uuid4()))
    assert (status, body["code"]) == (404, "invoice_not_found")
    status, body = await credit(world, invoice, lines=[{"position": 1, "amount": "1.00"}])
    number = f"INV-{body['issued_at'][:4]}-000002"  # by the service's own clock, which is the real one
    assert (status, body["number"], body["kind"], body["gross"]) == (201, number, "credit_note", "1.00")
    assert body["refers_to"] == str(invoice.id)
    status, body = await credit(world, invoice, lines=[{"position": 1, "amount": "2.58"}])
    assert (status, body["code"], body["remaining"]) == (409, "credit_too_large", "2.57")
    wrongs: list[dict[str, Any]] = [{"reason": ""}, {"reason": "a\x00b"}, {"lines": []}]
    for wrong in [*wrongs, {"lines": [{"position": 1, "amount": "1.001"}]}]:
        assert (await credit(world, invoice, **wrong))[0] == 422, wrong
    status, body = await credit(world, invoice)
    assert (status, body["gross"]) == (201, "9.00")
    status, body = await credit(world, invoice)
    assert (status, body["code"]) == (409, "credit_too_large")
    note = (await file(world, f"/api/invoices/{(await only_note(world, team))['id']}.pdf", team))[1]
    assert note.startswith(b"%PDF")
    assert (await world.events(team)).count("invoice.issued") == 3


async def only_note(world: World, team: Team) -> Any:
    _, page = await world.call("GET", "/api/invoices?kind=credit_note&limit=1", who=team.principal)
    return page["items"][0]
