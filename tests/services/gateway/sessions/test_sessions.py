"""Signing in, carrying on, and what a stolen token is worth."""

import asyncio
import time
from pathlib import Path

import jwt

from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.gateway.harness import PASSWORD, Gateway, running_gateway


async def _refresh(gateway: Gateway, token: str) -> tuple[int, dict[str, str]]:
    return await gateway.call("POST", "/api/auth/refresh", json={"refresh_token": token})


async def test_login(gateway: Gateway) -> None:
    person = await gateway.sign_up("Harbour")
    body = {"email": person.email.upper(), "password": PASSWORD}
    status, made = await gateway.call("POST", "/api/auth/login", json=body)
    assert (status, made["tenant"]["slug"], made["user"]["id"]) == (200, "harbour", person.user["id"])


async def test_unknown_and_wrong_look_alike_and_take_alike(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    answers, seconds = [], []
    for email in (person.email, "unknown@example.test", "no address"):
        started = time.perf_counter()
        answers.append(await gateway.call("POST", "/api/auth/login", json={"email": email, "password": "x" * 12}))
        seconds.append(time.perf_counter() - started)
    assert {(status, problem["code"], problem["detail"]) for status, problem in answers} == {
        (401, "credentials_wrong", "The e-mail address or the password is wrong.")
    }
    assert min(seconds[1:]) > seconds[0] / 4  # the hash is computed all the same


async def test_attempts_are_limited_by_address_and_email(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with running_gateway(gateway_db, tmp_path, login_burst=3, login_rate=0.01) as gateway:
        person = await gateway.sign_up()
        wrong = {"email": person.email, "password": "wrong password"}
        found = [(await gateway.call("POST", "/api/auth/login", json=wrong))[0] for _ in range(4)]
        assert found == [401, 401, 401, 429]
        async with gateway.http.post(f"{gateway.url}/api/auth/login", json=wrong) as answer:
            assert answer.status == 429
            assert int(answer.headers["retry-after"]) > 30
        other = {"email": "other@example.test", "password": "wrong password"}
        assert (await gateway.call("POST", "/api/auth/login", json=other))[0] == 401


async def test_refresh_rotates_and_stores_only_digests(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    status, first = await _refresh(gateway, person.refresh)
    assert status == 200
    assert first["refresh_token"] != person.refresh
    headers = {"authorization": f"Bearer {first['access_token']}"}
    assert (await gateway.call("GET", "/api/me", headers=headers))[0] == 200
    rows = await query(gateway.database.superuser, "SELECT digest FROM refresh_token")
    assert all(len(row[0]) == 32 for row in rows)
    assert first["refresh_token"].encode() not in b"".join(row[0] for row in rows)


async def test_reuse_ends_the_family(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    _, first = await _refresh(gateway, person.refresh)
    _, second = await _refresh(gateway, first["refresh_token"])
    status, problem = await _refresh(gateway, person.refresh)
    assert (status, problem["code"]) == (401, "session_ended")
    assert (await _refresh(gateway, second["refresh_token"]))[0] == 401
    # Another session of the same person goes on.
    _, other = await gateway.call("POST", "/api/auth/login", json={"email": person.email, "password": PASSWORD})
    assert (await _refresh(gateway, other["refresh_token"]))[0] == 200


async def test_two_at_once_make_one_successor_at_most(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    answers = await asyncio.gather(*(_refresh(gateway, person.refresh) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] + [401] * 7
    rows = await query(gateway.database.superuser, "SELECT end_reason FROM session")
    assert [row[0] for row in rows] == ["reuse"]


async def test_unknown_token(gateway: Gateway) -> None:
    assert (await _refresh(gateway, "x" * 43))[0] == 401


async def test_logout_ends_access_and_refresh(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    assert (await gateway.call("GET", "/api/me", headers=person.bearer))[0] == 200
    assert (await gateway.call("POST", "/api/auth/logout", headers=person.bearer))[0] == 204
    assert (await gateway.call("GET", "/api/me", headers=person.bearer))[0] == 401
    assert (await _refresh(gateway, person.refresh))[0] == 401


async def test_logout_by_refresh_token(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    status, _ = await gateway.call("POST", "/api/auth/logout", json={"refresh_token": person.refresh})
    assert status == 204
    assert (await _refresh(gateway, person.refresh))[0] == 401


async def test_anybody_can_check_a_token_with_the_published_key(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    _, keys = await gateway.call("GET", "/.well-known/jwks.json")
    key = jwt.PyJWK(keys["keys"][0])
    assert jwt.get_unverified_header(person.access)["kid"] == keys["keys"][0]["kid"]
    claims = jwt.decode(person.access, key, algorithms=["EdDSA"], audience="stowage", issuer=gateway.settings.base_url)
    assert claims["sub"] == person.user["id"]
    assert claims["exp"] - claims["iat"] == 900


async def test_tokens_of_others_are_refused(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    head, body, signature = person.access.split(".")
    for token in (f"{head}.{body}.{signature[:-4]}AAAA", "nonsense", f"{head}.{body}."):
        status, problem = await gateway.call("GET", "/api/me", headers={"authorization": f"Bearer {token}"})
        assert (status, problem["code"]) == (401, "unauthorized")
    assert (await gateway.call("GET", "/api/me", headers={"authorization": "Basic abc"}))[0] == 401
    assert (await gateway.call("GET", "/api/me"))[0] == 401
