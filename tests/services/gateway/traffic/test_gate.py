"""A month's traffic that is used up: files are not given out, and everything else goes on."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson
import pytest
from starlette.types import Receive, Send

from tests.services.gateway.harness import Gateway, Person, Seen, answer_json, echo, json_answer

LIMIT, BOUGHT = 5_000, 1_000
RESET = "2026-12-01T00:00:00Z"
INFO = {"used": 6_000, "limit": LIMIT, "bought": BOUGHT, "reset_at": RESET}
DOWNLOADS = [
    "/api/storage/files/{id}/content",
    "/api/storage/files/{id}/versions/{id}/content",
    "/api/storage/content/documents/a.bin",
    "/api/images/{id}/thumbnail",
]


@dataclass
class Usage:
    """What usage says of the traffic of everybody."""

    used: int = 6_000
    limit: int = LIMIT + BOUGHT
    asked: list[dict[str, Any]] = field(default_factory=list)
    wait: float = 0

    async def answer(self, seen: Seen, receive: Receive, send: Send) -> None:
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        self.asked.append(orjson.loads(body))
        await asyncio.sleep(self.wait)
        allowed = self.used < self.limit
        told = {"allowed": allowed, "used": self.used, "limit": self.limit, "bought": BOUGHT, "reset_at": RESET}
        assert seen.principal.kind == "service"
        await answer_json(send, 200, orjson.dumps(told))


def told_by(gateway: Gateway, who: Person, usage: Usage) -> Usage:
    gateway.stub.answers[f"/internal/usage/{who.tenant['id']}/check"] = usage.answer
    return usage


def signed(who: Person) -> str:
    return f"/api/storage/signed/{who.tenant['id']}/{uuid4()}?link={uuid4()}&expires=1&sig=x"


@pytest.mark.parametrize("path", DOWNLOADS)
async def test_files_are_not_given_out(gateway: Gateway, path: str) -> None:
    ada = await gateway.sign_up()
    usage = told_by(gateway, ada, Usage())
    path = path.format(id=uuid4())
    status, refused = await gateway.call("GET", path, headers=ada.bearer)
    assert (status, refused["code"], refused["traffic_info"]) == (403, "plan_limit_traffic", INFO)
    assert refused["upgrade_url"] == "/app/plans"
    assert usage.asked == [{"metric": "traffic", "amount": 1}]
    assert path not in {seen.path for seen in gateway.stub.seen}, "nothing of it was read"
    usage.limit += 1_000_000
    await asyncio.sleep(0.6)
    assert (await gateway.call("GET", path, headers=ada.bearer))[0] == 200


async def test_a_link_is_its_owner_s(gateway: Gateway) -> None:
    """Strangers are not told how much that is."""
    ada, eve = await gateway.sign_up(), await gateway.sign_up()
    told_by(gateway, ada, Usage())
    told_by(gateway, eve, Usage(used=0))
    for headers in ({}, eve.bearer):
        status, refused = await gateway.call("GET", signed(ada), headers=headers)
        assert (status, refused["code"]) == (403, "plan_limit_traffic")
        assert "traffic_info" not in refused
    assert (await gateway.call("GET", signed(eve), headers=ada.bearer))[0] == 200


async def test_what_a_stranger_makes_up_is_asked_of_nobody(gateway: Gateway) -> None:
    """Whoever is asked about begins to exist for usage and billing. Upload judges the link."""
    for tenant in (str(uuid4()), "nobody"):
        assert (await gateway.call("GET", f"/api/storage/signed/{tenant}/{uuid4()}?sig=x"))[0] == 200
    assert {seen.path.split("/")[1] for seen in gateway.stub.seen} == {"api"}


async def test_everything_else_goes_on(gateway: Gateway) -> None:
    ada = await gateway.sign_up()
    usage = told_by(gateway, ada, Usage())
    file = uuid4()
    for method, path in [
        ("POST", "/api/storage/upload"),
        ("PUT", f"/api/storage/files/{file}/content"),
        ("PUT", "/api/storage/content/documents/a.bin"),
        ("POST", "/api/images/upload"),
        ("GET", "/api/storage/files"),
        ("GET", f"/api/storage/files/{file}"),
        ("HEAD", f"/api/storage/files/{file}/content"),
        ("GET", f"/api/user/exports/{file}/content"),
        ("DELETE", f"/api/storage/files/{file}"),
    ]:
        assert (await gateway.call(method, path, headers=ada.bearer))[0] == 200, path
    assert usage.asked == []


async def test_asked_once_for_many(gateway: Gateway) -> None:
    ada = await gateway.sign_up()
    usage = told_by(gateway, ada, Usage(used=0, wait=0.2))
    path = f"/api/storage/files/{uuid4()}/content"
    for _ in range(2):
        answers = await asyncio.gather(*(gateway.call("GET", path, headers=ada.bearer) for _ in range(32)))
        assert {status for status, _ in answers} == {200}
    assert len(usage.asked) == 1


async def test_what_is_not_known_cuts_nobody_off(gateway: Gateway) -> None:
    ada, bob = await gateway.sign_up(), await gateway.sign_up()
    check = f"/internal/usage/{ada.tenant['id']}/check"
    path = f"/api/storage/files/{uuid4()}/content"
    gateway.stub.answers[check] = json_answer(503, b'{"code": "entitlements_unknown", "detail": "?"}')
    assert (await gateway.call("GET", path, headers=ada.bearer))[0] == 200
    told_by(gateway, bob, Usage(wait=3))  # longer than a download waits
    async with asyncio.timeout(2.5):
        assert (await gateway.call("GET", path, headers=bob.bearer))[0] == 200
        assert (await gateway.call("GET", path, headers=bob.bearer))[0] == 200
    gateway.stub.answers[check] = echo


async def test_who_leaves_takes_nobody_s_answer_along(gateway: Gateway) -> None:
    ada = await gateway.sign_up()
    usage = told_by(gateway, ada, Usage(wait=0.5))
    path = f"/api/storage/files/{uuid4()}/content"
    first = asyncio.create_task(gateway.call("GET", path, headers=ada.bearer))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(gateway.call("GET", path, headers=ada.bearer))
    await asyncio.sleep(0.1)
    first.cancel()
    assert (await second)[0] == 403
    assert len(usage.asked) == 1
