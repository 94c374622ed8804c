"""Links that need no account: revoked one by one, protected, limited, counted."""

import asyncio
from base64 import b64encode
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.upload.links import repository, rules
from services.upload.links.service import forget_links
from shared.db import Database
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload

CONTENT = bytes(range(256)) * 20


async def made(service: Upload, content: bytes = CONTENT) -> tuple[Customer, str]:
    ada = service.customer()
    return ada, f"/api/storage/files/{(await ada.upload(content))[1]['file_id']}"


async def link(ada: Customer, path: str, **wanted: Any) -> tuple[str, dict[str, Any]]:
    status, body, _ = await ada.call("POST", f"{path}/links", json=wanted)
    assert status == 201, body
    return body["url"].removeprefix(ada.service.url), body


async def listed(ada: Customer, query: str = "") -> list[dict[str, Any]]:
    return (await ada.call("GET", f"/api/storage/links?{query}"))[1]["items"]  # type: ignore[no-any-return]


async def booked(ada: Customer) -> None:
    await ada.service.app.state.services.links.close()


async def test_each_link_is_revoked_by_itself(service: Upload) -> None:
    ada, path = await made(service)
    one, two = [(await ada.call("GET", f"{path}/url"))[1] for _ in range(2)]
    three = (await link(ada, path))[1]
    stranger = service.customer()
    urls = {each["id"]: each["url"].removeprefix(service.url) for each in (one, two, three)}
    for url in urls.values():
        assert (await stranger.call("GET", url))[1] == CONTENT
    for gone in (one, three):
        assert (await stranger.call("DELETE", f"/api/storage/links/{gone['id']}"))[0] == 404
        assert (await ada.call("DELETE", f"/api/storage/links/{gone['id']}"))[0] == 204
        assert (await ada.call("DELETE", f"/api/storage/links/{gone['id']}"))[0] == 204
        status, problem, _ = await stranger.call("GET", urls[gone["id"]])
        assert (status, problem["code"]) == (403, "link_revoked")
    assert (await stranger.call("GET", urls[two["id"]]))[0] == 200
    assert (await ada.call("DELETE", f"/api/storage/links/{uuid4()}"))[0] == 404


async def test_one_that_was_never_used_is_revoked_too(service: Upload) -> None:
    ada, path = await made(service)
    body = (await ada.call("GET", f"{path}/url"))[1]
    assert await listed(ada) == []
    assert (await ada.call("DELETE", f"/api/storage/links/{body['id']}"))[0] == 204
    assert (await ada.call("GET", body["url"].removeprefix(service.url)))[1]["code"] == "link_revoked"
    assert [(each["id"], each["state"]) for each in await listed(ada)] == [(body["id"], "revoked")]


def test_nobody_makes_up_an_id() -> None:
    tenant, other = uuid4(), uuid4()
    made_up = rules.new_rowless("old", tenant)
    assert rules.is_rowless(made_up, ["new", "old"], tenant)
    assert not rules.is_rowless(made_up, ["new"], tenant)
    assert not rules.is_rowless(made_up, ["old"], other)
    assert not any(rules.is_rowless(UUID(int=made_up.int ^ 1 << bit), ["old"], tenant) for bit in range(128))
    assert not rules.Ticket(tenant, other, made_up, 0).kept
    assert rules.Ticket(tenant, other, uuid4(), 0).kept


async def test_what_a_link_says_is_signed(service: Upload) -> None:
    ada, path = await made(service)
    url, _ = await link(ada, path, expires_in=60)
    other, _ = await link(ada, path)
    rowless = (await ada.call("GET", f"{path}/url"))[1]["url"].removeprefix(service.url)
    assert (await ada.call("GET", url))[0] == 200
    ids = [each.split("link=")[1][:36] for each in (url, other, rowless)]
    for altered in (
        url.replace(ids[0], ids[1]),
        url.replace(ids[0], ids[2]),
        url.replace(f"link={ids[0]}&", ""),
        url.replace(ids[0], ids[0].upper()),
        url.replace("expires=", "expires=9"),
        url.replace(path[-36:], str(uuid4())),
    ):
        assert altered != url
        status, problem, _ = await ada.call("GET", altered)
        assert (status, problem["code"]) == (403, "link_invalid"), altered
    for wrong in ({"expires_in": 0}, {"expires_in": 604_801}, {"max_uses": 0}, {"password": ""}, {"disposition": "x"}):
        assert (await ada.call("POST", f"{path}/links", json=wrong))[0] == 422


async def test_expiry(service: Upload) -> None:
    ada, path = await made(service)
    url, body = await link(ada, path, expires_in=1)
    await asyncio.sleep(1.1)
    status, problem, _ = await ada.call("GET", url)
    assert (status, problem["code"]) == (403, "link_expired")
    assert [each["state"] for each in await listed(ada)] == ["expired"]
    await query(service.dsn.superuser, "UPDATE file_link SET expires_at = now() - interval '31 days'")
    async with Database(service.dsn.worker, pool_size=1) as database:
        await forget_links(database)
    assert await listed(ada) == []
    assert (await ada.call("GET", url))[1]["code"] == "link_expired"
    assert body["max_uses"] is None


@pytest.mark.parametrize("uses", [1, 5])
async def test_uses_are_exact_however_many_come_at_once(service: Upload, uses: int) -> None:
    ada, path = await made(service)
    url, _ = await link(ada, path, max_uses=uses)
    for _ in range(3):
        assert (await ada.call("HEAD", url))[0] == 200  # looking is no use
    answers = await asyncio.gather(*(ada.call("GET", url) for _ in range(20)))
    assert sum(status == 200 for status, _, _ in answers) == uses
    assert {body["code"] for status, body, _ in answers if status != 200} == {"link_exhausted"}
    await booked(ada)
    (after,) = await listed(ada)
    assert (after["uses"], after["state"], after["bytes_sent"]) == (uses, "exhausted", uses * len(CONTENT))


async def test_a_download_that_broke_off_goes_on(service: Upload) -> None:
    """One use pays for the bytes to go on with, once, and for no second beginning."""
    ada, path = await made(service)
    url, _ = await link(ada, path, max_uses=1)
    half = len(CONTENT) // 2
    assert (await ada.call("GET", url, headers={"range": f"bytes=0-{half - 1}"}))[1] == CONTENT[:half]
    assert (await ada.call("GET", url, headers={"range": f"bytes={half}-"}))[1] == CONTENT[half:]
    assert (await ada.call("GET", url, headers={"range": f"bytes={half}-"}))[1] == CONTENT[half:]
    for headers in ({"range": f"bytes={half}-"}, {"range": "bytes=1-"}, {"range": "bytes=0-0"}, {}):
        status, problem, _ = await ada.call("GET", url, headers=headers)
        assert (status, problem["code"]) == (403, "link_exhausted"), headers


async def test_going_on_without_having_begun_is_a_use(service: Upload) -> None:
    ada, path = await made(service)
    url, _ = await link(ada, path, max_uses=2)
    answers = await asyncio.gather(*(ada.call("GET", url, headers={"range": "bytes=1-"}) for _ in range(10)))
    # Two uses, each of which pays for as much again.
    assert 2 <= sum(status == 206 for status, _, _ in answers) <= 4
    assert (await listed(ada))[0]["uses"] == 2
    assert (await ada.call("GET", url))[0] == 403


async def test_bytes_are_booked_for_every_link(service: Upload) -> None:
    ada, path = await made(service)
    rowless = (await ada.call("GET", f"{path}/url"))[1]
    kept, body = await link(ada, path)
    for url in (rowless["url"].removeprefix(service.url), kept):
        await ada.call("GET", url)
        await ada.call("GET", url, headers={"range": "bytes=0-99"})
        _, _, head = await ada.call("HEAD", url)
        await ada.call("GET", url, headers={"if-none-match": head["etag"]})
    await booked(ada)
    found = {each["id"]: each for each in await listed(ada, f"file_id={path[-36:]}")}
    assert {each["bytes_sent"] for each in found.values()} == {len(CONTENT) + 100}
    assert {each["uses"] for each in found.values()} == {2}
    assert found[rowless["id"]]["url"] is None
    assert found[body["id"]]["url"] == body["url"]


async def ask(service: Upload, url: str, password: str | None) -> tuple[int, Any, Any]:
    headers = {"stowage-internal": service.customer().token}
    if password is not None:
        headers["authorization"] = "Basic " + b64encode(f"anybody:{password}".encode()).decode()
    async with service.http.get(service.url + url, headers=headers) as answer:
        kind = answer.headers.get("content-type", "")
        return answer.status, (await answer.json() if "json" in kind else await answer.read()), answer.headers


async def test_a_password(service: Upload) -> None:
    ada, path = await made(service)
    url, body = await link(ada, path, password="grün:7", max_uses=2)
    assert body["has_password"] is True
    assert "grün" not in str(await query(service.dsn.superuser, "SELECT to_jsonb(l) FROM file_link AS l"))
    status, problem, headers = await ask(service, url, None)
    assert (status, problem["code"]) == (401, "link_password_required")
    assert headers["www-authenticate"].startswith("Basic ")
    assert (await ask(service, url, "wrong"))[0] == 401
    assert (await ask(service, url, "grün:7"))[:2] == (200, CONTENT)
    assert (await ask(service, url, "grün:7"))[0] == 200  # remembered
    assert (await ask(service, url, "grün:7"))[1]["code"] == "link_exhausted"
    assert (await listed(ada))[0]["uses"] == 2


async def test_guessing_is_limited_also_at_once(service: Upload) -> None:
    ada, path = await made(service)
    url, _ = await link(ada, path, password="right")
    answers = await asyncio.gather(*(ask(service, url, f"guess {i}") for i in range(repository.FAILURES + 4)))
    codes = sorted(body["code"] for _, body, _ in answers)
    assert codes == ["link_locked"] * 4 + ["link_password_required"] * repository.FAILURES
    status, problem, headers = await ask(service, url, "right")
    assert (status, problem["code"], headers["retry-after"]) == (429, "link_locked", "900")
    await query(service.dsn.superuser, "UPDATE file_link SET failed_at = now() - interval '16 minutes'")
    assert (await ask(service, url, "right"))[0] == 200


async def test_a_link_goes_with_its_file_and_not_before(service: Upload) -> None:
    ada, path = await made(service)
    url, _ = await link(ada, path, disposition="inline")
    _, _, headers = await ada.call("GET", url)
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert (await ada.call("PUT", f"{path}/content", data=b"newer"))[0] == 200
    assert (await ada.call("GET", url))[1] == b"newer"
    assert (await ada.call("GET", url))[2]["content-disposition"].startswith("inline")
    await ada.call("PATCH", path, json={"category": "properties", "name": "x.txt"})
    assert (await ada.call("GET", url))[1] == b"newer"
    await ada.call("DELETE", path)
    status, problem, _ = await ada.call("GET", url)
    assert (status, problem["code"]) == (404, "file_not_found")
    await booked(ada)
    assert await listed(ada) == []


async def test_links_are_listed_in_pages_to_their_tenant_alone(service: Upload) -> None:
    ada, path = await made(service)
    eve, other = await made(service)
    await link(eve, other)
    ids = [(await link(ada, path))[1]["id"] for _ in range(5)]
    first = (await ada.call("GET", "/api/storage/links?limit=3"))[1]
    rest = (await ada.call("GET", f"/api/storage/links?limit=3&cursor={first['next_cursor']}"))[1]
    assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert await listed(ada, f"file_id={other[-36:]}") == []
    assert (await ada.call("POST", f"{other}/links", json={}))[0] == 404
    assert (await ada.call("GET", "/api/storage/links?cursor=bnVsbA"))[0] == 422
