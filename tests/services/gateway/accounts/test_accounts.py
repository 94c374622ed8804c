"""Signing up and what an account may never do to itself."""

import asyncio

import asyncpg
import pytest

from services.gateway.accounts import rules
from services.gateway.errors import EmailInvalid, PasswordInvalid
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.gateway.harness import PASSWORD, Gateway


async def test_signup_makes_everything_in_one_commit(gateway: Gateway) -> None:
    body = {"email": " Ada@Example.TEST ", "password": PASSWORD, "name": "Ada  L.", "organization": "Söhne & Co"}
    status, made = await gateway.call("POST", "/api/auth/signup", json=body)
    assert status == 201
    assert made["user"]["email"] == "ada@example.test"
    assert made["user"]["name"] == "Ada L."
    assert made["tenant"]["slug"] == "sohne-co"
    assert made["tenant"]["role"] == "owner"
    assert (made["token_type"], made["expires_in"]) == ("Bearer", 900)
    events = await query(gateway.database.superuser, "SELECT tenant_id, seq, type, body FROM outbox_event")
    assert [(str(e["tenant_id"]), e["seq"], e["type"]) for e in events] == [(made["tenant"]["id"], 1, "tenant.created")]
    status, me = await gateway.call("GET", "/api/me", headers={"authorization": f"Bearer {made['access_token']}"})
    assert status == 200
    assert [t["slug"] for t in me["tenants"]] == ["sohne-co"]


async def test_password_is_stored_as_argon2id_only(gateway: Gateway) -> None:
    await gateway.sign_up()
    rows = await query(gateway.database.superuser, "SELECT password_hash FROM person")
    assert rows[0][0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_address_is_taken_once_whatever_its_spelling(gateway: Gateway) -> None:
    one = gateway.call("POST", "/api/auth/signup", json={"email": "a@x.test", "password": PASSWORD, "name": "A"})
    two = gateway.call("POST", "/api/auth/signup", json={"email": "A@X.test", "password": PASSWORD, "name": "B"})
    answers = sorted(await asyncio.gather(one, two), key=lambda answer: answer[0])
    assert [status for status, _ in answers] == [201, 409]
    assert answers[1][1]["code"] == "email_taken"
    # Nothing of the refused one is left.
    counts = await query(
        gateway.database.superuser,
        "SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM tenant), (SELECT count(*) FROM outbox_event)",
    )
    assert tuple(counts[0]) == (1, 1, 1)


async def test_same_organization_gets_a_suffix(gateway: Gateway) -> None:
    people = [await gateway.sign_up("Harbour") for _ in range(5)]
    slugs = [person.tenant["slug"] for person in people]
    assert slugs[:3] == ["harbour", "harbour-2", "harbour-3"]
    assert len(set(slugs)) == 5


async def test_what_is_refused(gateway: Gateway) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"password": "short"}, "password_invalid"),
        ({"password": "x" * 129}, "password_invalid"),
        ({"password": "Welcome2026!"}, "password_invalid"),
        ({"password": "a@example.test"}, "password_invalid"),
        ({"email": "nobody"}, "email_invalid"),
        ({"name": "   "}, "name_invalid"),
        ({"name": 7}, "invalid_request"),
    ]
    for change, code in cases:
        body = {"email": "a@example.test", "password": PASSWORD, "name": "A"} | change
        status, problem = await gateway.call("POST", "/api/auth/signup", json=body)
        assert (status, problem["code"]) == (422, code), change
        assert PASSWORD not in str(problem)


async def test_nobody_makes_themselves_administrator(gateway: Gateway) -> None:
    body = {"email": "eve@example.test", "password": PASSWORD, "name": "Eve", "is_admin": True}
    status, made = await gateway.call("POST", "/api/auth/signup", json=body)
    assert status == 201
    assert made["user"]["is_admin"] is False
    bearer = {"authorization": f"Bearer {made['access_token']}"}
    status, me = await gateway.call("PATCH", "/api/me", headers=bearer, json={"name": "Eve 2", "is_admin": True})
    assert (status, me["name"], me["is_admin"]) == (200, "Eve 2", False)
    await gateway.call("GET", "/api/storage/quota", headers=bearer | {"stowage-is-admin": "true"})
    assert gateway.stub.seen[-1].principal.is_admin is False


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE profile SET is_admin = true",
        "INSERT INTO profile SELECT id, 'x', 'en', true, now(), now() FROM person",
    ],
)
async def test_the_serving_role_cannot_write_is_admin(gateway_db: ServiceDatabase, sql: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await query(gateway_db.app, sql)


def test_common_passwords_and_plain_ones() -> None:
    for password in ("password123", "Qwerty123456", "1234567890", "aaaaaaaaaaaa", "iloveyou2024", "administrator"):
        with pytest.raises(PasswordInvalid):
            rules.check_password(password, email="a@b.c")
    rules.check_password("passwords are long", email="a@b.c")


def test_email_spelling() -> None:
    assert rules.normalise_email("  Jö@EXAMPLE.com ") == "jö@example.com"
    with pytest.raises(EmailInvalid):
        rules.normalise_email("a@b@c")
