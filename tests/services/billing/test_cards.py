"""No card number enters billing: in the body, the query, a header, the path, metadata; and none is logged or kept."""

import logging
from typing import Any

import pytest

from shared.security import Principal, sign
from tests.fixtures.postgres import query
from tests.services.billing.door import SECRET
from tests.services.billing.world import Team, World, told

CARD = "4242424242424242"


async def ask(world: World, method: str, path: str, **told: Any) -> tuple[int, Any]:
    headers = {"stowage-internal": sign(Team().principal, secret=SECRET, audience="billing", issuer="gateway")}
    headers |= told.pop("headers", {})
    async with world.http.request(method, world.url + path, headers=headers, **told) as answer:
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("POST", "/api/payments/ada/initiate", {"json": {"plan": "pro", "method": "credit_card", "number": CARD}}),
        ("POST", "/api/payments/ada/initiate", {"json": {"plan": CARD, "method": "credit_card"}}),
        ("POST", "/api/payments/ada/initiate", {"json": {"metadata": {"a": [{"b": int(CARD)}]}}}),
        ("POST", "/api/payments/ada/initiate", {"data": {"number": "4242 4242 4242 4242"}}),
        ("POST", "/api/payments/ada/initiate", {"data": b"4242-4242-4242-4242", "headers": {"content-type": "x/y"}}),
        ("GET", f"/api/payments/ada/history?cursor={CARD}", {}),
        ("GET", "/api/payments/ada/history?a=4242+4242+4242+4242", {}),
        ("GET", f"/api/payments/{CARD}/status", {}),
        ("GET", "/api/plans", {"headers": {"x-card": CARD}}),
        ("GET", "/api/plans", {"headers": {"user-agent": f"me/{CARD}"}}),
        ("POST", "/api/payments/ada/initiate", {"json": {}, "headers": {"idempotency-key": CARD}}),
    ],
)
async def test_refused_and_not_logged(
    world: World, caplog: pytest.LogCaptureFixture, method: str, path: str, told: dict[str, Any]
) -> None:
    with caplog.at_level(logging.DEBUG):
        status, body = await ask(world, method, path, **told)
    assert (status, body["code"]) == (422, "card_number_refused")
    # The processes keep no log of accesses (`shared.http.server`); the server of these tests does.
    ours = [record for record in caplog.records if not record.name.startswith(("aiohttp", "asyncio", "uvicorn.access"))]
    for text in (str(body), *(record.getMessage() for record in ours)):
        assert CARD not in text
        assert "4242" not in text
    assert await query(world.dsn.worker, "SELECT 1 FROM payment") == []
    assert await query(world.dsn.worker, "SELECT 1 FROM idempotency_key") == []


async def test_a_provider_that_sends_one_is_heard_and_the_number_is_not_kept(world: World) -> None:
    """The signature is over what came; what is kept is not."""
    team = Team()
    payment = await world.started(team)
    body = told(payment, card={"number": CARD, "again": int(CARD)})
    assert (await world.callback(body))[0] == 202
    seen = await world.until(team, payment, lambda p: p["status"] == "completed")
    assert [c["verdict"] for c in seen["callbacks"]] == ["accepted"]
    await world.callback(b"number=" + CARD.encode(), signature="v1,AAAA")
    rows = await query(world.dsn.worker, "SELECT body, redacted FROM payment_callback")
    assert [row["redacted"] for row in rows] == [True, True]
    assert not any(b"4242" in row["body"] for row in rows)


async def test_what_is_none_passes(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    assert (await world.status(team, payment))["status"] == "pending"
    status, _ = await ask(world, "GET", "/api/plans", headers={"x-request-id": "42424242-4242-4242-8242-424242424242"})
    assert status == 200
    assert (await world.call("GET", "/api/plans", who=Principal()))[0] == 200
