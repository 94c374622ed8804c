"""Who a team is as a buyer: what its events say, until a manager says it better."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from services.billing.details.handlers import keep_cards
from services.billing.details.parties import Buyer, language_of
from services.billing.settings import Settings
from shared.db import Database
from shared.events import TenantCreated, TenantDeleted, TenantEvent, TenantUpdated
from shared.kafka import Record
from tests.fixtures.postgres import query
from tests.services.billing.world import Team, World, settings


def told(kind: type[TenantEvent], tenant: UUID, seq: int, name: str) -> Record:
    event = kind(
        tenant_id=tenant,
        slug="ada",
        name=name,
        owner_id=uuid4(),
        owner_email="ada@stowage.example",
        timezone="UTC",
        locale="pt-BR",
    )
    body = event.body().encode()
    return Record("tenants.v1", tenant, seq, kind.type, body, {}, None, event=event)


async def test_the_newest_event_until_somebody_says_more(world: World) -> None:
    team = Team()
    path = "/api/billing/details"
    _, body = await world.call("GET", path, who=team.principal)
    assert (body["name"], body["language"], body["updated_at"]) == (f"Team {team.tenant}", "en", None)
    async with Database(world.dsn.worker) as database:
        async with database.transaction() as connection:
            records = [told(TenantCreated, team.tenant, 1, "Ada"), told(TenantUpdated, team.tenant, 2, "Ada\nLtd ")]
            await keep_cards(connection, records)
        _, body = await world.call("GET", path, who=team.principal)
        assert (body["name"], body["email"], body["language"]) == ("Ada Ltd", "ada@stowage.example", "pt")
        entered = {"name": "Ada SARL", "city": "Paris", "country": "FR", "vat_id": "40 303 265 045", "language": "fr"}
        status, body = await world.call("PUT", path, entered, who=team.principal)
        assert (status, body["vat_id"], body["street"]) == (200, "FR40303265045", None)
        assert datetime.fromisoformat(body["updated_at"]) <= datetime.now(UTC)
        assert (await world.call("GET", path, who=team.principal))[1] == body
        async with database.transaction() as connection:
            await keep_cards(connection, [told(TenantDeleted, team.tenant, 3, "Ada")])
    assert await query(world.dsn.worker, "SELECT 1 FROM tenant_card UNION ALL SELECT 1 FROM billing_details") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"country": "Germany"},
        {"country": "DE", "vat_id": "DE136695977"},
        {"vat_id": "DE136695976"},
        {"country": "US", "vat_id": "123456789"},
        {"country": "FR", "vat_id": "DE136695976"},
        {"language": "la"},
        {"email": "nobody"},
        {"iban": "DE00"},
    ],
)
def test_what_cannot_stand_on_an_invoice(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Buyer.model_validate({"name": "Ada", **wrong})


@pytest.mark.parametrize(
    ("country", "text", "written"),
    [
        ("GR", "EL 094 259 216", "EL094259216"),
        ("AT", "U13585627", "ATU13585627"),
        ("NL", "NL4495445B01", "NL4495445B01"),
    ],
)
def test_a_vat_id_is_written_in_one_way(country: str, text: str, written: str) -> None:
    assert Buyer(name="Ada", country=country, vat_id=text).vat_id == written


async def test_members_neither_see_nor_change_them(world: World) -> None:
    member = Team(role="member")
    for method, body in (("GET", None), ("PUT", {"name": "Mine"})):
        status, answer = await world.call(method, "/api/billing/details", body, who=member.principal)
        assert (status, answer["code"]) == (403, "manager_required")
    assert (await world.call("PUT", "/api/billing/details", {"country": "DE"}, who=Team().principal))[0] == 422


def test_languages() -> None:
    assert [language_of(text) for text in ("pt-BR", "zh_Hant_TW", "de", "la", "")] == ["pt", "zh", "de", "en", "en"]


def test_the_seller_is_read_and_checked(world: World) -> None:
    def read(**told: str) -> Settings:
        return settings(world.dsn.app, world.sandbox, world.url, **told)

    assert read(invoice_seller="").invoice_seller is None
    seller = read(invoice_seller='{"name": "S", "country": "AT", "vat_id": "U13585627"}').invoice_seller
    assert seller is not None
    assert (seller.vat_id, seller.code) == ("ATU13585627", "main")
    for wrong in ("{", '{"name": "S"}', '{"name": "S", "country": "AT", "vat_id": "U1"}'):
        with pytest.raises(ValidationError, match="invoice_seller"):
            read(invoice_seller=wrong)
    with pytest.raises(ValidationError, match="number"):
        read(invoice_number="INV-{year}")
