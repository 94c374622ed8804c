"""Stripe, by its SDK, against a local server of its API; and its events, signed by the SDK itself."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe

from services.billing.errors import ProviderUnavailable
from services.billing.payments.provider import ProviderRefused
from services.billing.payments.rules import stripe_signature_matches
from services.billing.payments.stripe_sessions import money_of, stripe_amount
from shared.money import Money
from shared.security import Principal, sign
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.door import SECRET
from tests.services.billing.payments.stripe_server import KEY, StripeServer, event_of, stripe_server
from tests.services.billing.world import Team, World, running

SECRETS = ["whsec_newest_of_these_tests", "whsec_older_of_these_tests"]


@pytest.fixture
async def server() -> AsyncIterator[StripeServer]:
    async with stripe_server() as started:
        yield started


@pytest.fixture
async def shop(billing_db: ServiceDatabase, server: StripeServer) -> AsyncIterator[World]:
    told = {"stripe_api_key": KEY, "stripe_webhook_secrets": ",".join(SECRETS), "stripe_api_base": server.url}
    async with running(billing_db, **told) as world:
        yield world


async def tell(world: World, event: Any, *, secret: str = SECRETS[0], age: int = 0) -> tuple[int, Any]:
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    text = raw.decode("latin-1") if isinstance(event, bytes) else raw.decode()
    signed = stripe.WebhookSignature.generate_signature_header(text, secret, int(time.time()) - age)
    headers = {
        "stripe-signature": signed,
        "stowage-internal": sign(Principal(), secret=SECRET, audience="billing", issuer="gateway"),
    }
    async with world.http.post(f"{world.url}/api/payments/stripe/webhook", data=raw, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_card_payment_from_order_to_plan(shop: World, server: StripeServer) -> None:
    team = Team()
    payment = await shop.started(team)
    (form,) = server.forms
    assert form["client_reference_id"] == payment["payment_id"]
    assert (form["line_items[0][price_data][unit_amount]"], form["mode"]) == ("300", "payment")
    assert list(server.keys) == [payment["payment_id"]], "the idempotency key is the payment's id"
    assert payment["payment_url"].startswith(server.url)
    assert payment["qr_code"].startswith("data:image/svg+xml")
    session = server.pay(payment["external_payment_id"])
    event = event_of(session)
    assert [(await tell(shop, event))[0] for _ in range(3)] == [202, 200, 200]
    seen = await shop.until(team, payment, lambda p: p["status"] == "completed")
    assert [c["verdict"] for c in seen["callbacks"]] == ["accepted", "duplicate", "duplicate"]
    assert (await shop.subscription(team))["version"] == 2


async def test_mobile_money_stays_with_the_external_backend(shop: World, server: StripeServer) -> None:
    status, payment = await shop.initiate(Team(), method="mobile_money")
    assert (status, payment["status"], server.forms) == (201, "pending", [])
    assert payment["qr_code"].startswith("data:image/")


async def test_keys_rotate_and_forgeries_are_recorded(shop: World, server: StripeServer) -> None:
    team = Team()
    payment = await shop.started(team)
    event = event_of(server.pay(payment["external_payment_id"]))
    assert (await tell(shop, event, secret="whsec_somebody_elses_key"))[0] == 401
    for age in (302, -302):
        assert (await tell(shop, event, age=age))[0] == 400, "both ways"
    assert (await tell(shop, event, secret=SECRETS[1]))[0] == 202, "the same event id: a forgery takes no one's place"
    seen = await shop.until(team, payment, lambda p: p["status"] == "completed")
    assert [c["verdict"] for c in seen["callbacks"]] == ["rejected"] * 3 + ["accepted"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount_total": 299}, "amount 2.99 instead of 3.00"),
        ({"currency": "usd"}, "currency USD instead of EUR"),
        ({"id": "cs_another"}, "payment ids do not belong together"),
        ({"metadata": {"team": "eve"}}, "another team's payment"),
    ],
)
async def test_what_contradicts_the_order(
    shop: World, server: StripeServer, changes: dict[str, Any], reason: str
) -> None:
    team = Team()
    payment = await shop.started(team)
    session = {**server.pay(payment["external_payment_id"]), **changes}
    assert (await tell(shop, event_of(session)))[0] == 202
    seen = await shop.until(team, payment, lambda p: len(p["callbacks"]) == 1)
    assert (seen["status"], seen["callbacks"][0]["reason"]) == ("pending", reason)


async def test_one_provider_does_not_speak_for_another(shop: World) -> None:
    """An external payment, told of in an event that Stripe signed."""
    team = Team()
    _, payment = await shop.initiate(team, method="mobile_money")
    session = {
        "id": payment["external_payment_id"],
        "status": "complete",
        "payment_status": "paid",
        "payment_intent": "pi_1",
        "metadata": None,
        "client_reference_id": payment["payment_id"],
        "amount_total": 300,
        "currency": "eur",
    }
    assert (await tell(shop, event_of(session)))[0] == 202
    seen = await shop.until(team, payment, lambda p: len(p["callbacks"]) == 1)
    assert (seen["status"], seen["callbacks"][0]["reason"]) == ("pending", "stripe was not asked")


async def test_a_bank_that_takes_its_time(shop: World, server: StripeServer) -> None:
    for kind, paid, becomes in (("succeeded", "paid", "completed"), ("failed", "unpaid", "failed")):
        team = Team()
        payment = await shop.started(team)
        session = server.pay(payment["external_payment_id"], "unpaid")
        await tell(shop, event_of(dict(session)))
        await shop.until(team, payment, lambda p: p["status"] == "processing")
        await tell(shop, event_of({**session, "payment_status": paid}, f"checkout.session.async_payment_{kind}"))
        await shop.until(team, payment, lambda p, b=becomes: p["status"] == b)  # type: ignore[misc]


async def test_other_events_are_none_of_ours(shop: World) -> None:
    assert (await tell(shop, {"id": "evt_1", "type": "customer.created", "data": {"object": {}}}))[0] == 202
    assert (await tell(shop, {"id": "evt_2", "type": 7}))[0] == 202
    assert (await tell(shop, b"{"))[0] == 401, "without an id there is no event"
    async with asyncio.timeout(10):
        while await query(shop.dsn.worker, "SELECT 1 FROM payment_callback WHERE verdict = 'received'"):
            await asyncio.sleep(0.02)
    rows = await query(shop.dsn.worker, "SELECT verdict FROM payment_callback ORDER BY received_at")
    assert [row["verdict"] for row in rows] == ["ignored", "rejected", "rejected"]


async def test_a_lost_answer_and_a_lost_event(shop: World, server: StripeServer) -> None:
    team = Team()
    server.trouble = "silent"
    status, body = await shop.initiate(team)
    assert (status, body["code"]) == (503, "provider_unavailable")
    server.trouble = None
    await query(shop.dsn.worker, "UPDATE payment SET next_check_at = now()")
    await shop.janitor.run()
    assert len(server.forms) == 1, "asked again under the same key"
    (name,) = server.sessions
    server.pay(name)
    await query(shop.dsn.worker, "UPDATE payment SET next_check_at = now()")
    await shop.janitor.run()
    assert (await shop.status(team, body))["status"] == "completed"


@pytest.mark.parametrize(
    ("trouble", "becomes"),
    [
        ((500, "api_error", "x"), "pending"),
        ((429, "invalid_request_error", "x"), "pending"),
        ((401, "invalid_request_error", "x"), "pending"),
        ((409, "idempotency_error", "x"), "pending"),
        ((400, "invalid_request_error", "x"), "failed"),
        ("garbage", "pending"),
    ],
)
async def test_trouble(shop: World, server: StripeServer, trouble: Any, becomes: str) -> None:
    team = Team()
    server.trouble = trouble
    status, body = await shop.initiate(team)
    assert (status, body["code"]) == (503, "provider_unavailable")
    assert (await shop.status(team, body))["status"] == becomes


async def test_cancel_and_what_was_paid_meanwhile(shop: World, server: StripeServer) -> None:
    first, second = Team(), Team(slug="bob")
    open_one, paid = await shop.started(first), await shop.started(second)
    server.pay(paid["external_payment_id"])
    for team, payment, becomes in ((first, open_one, "cancelled"), (second, paid, "completed")):
        path = f"/api/payments/{payment['payment_id']}/cancel"
        status, body = await shop.call("POST", path, who=team.principal)
        assert (status, body["status"]) == (200, becomes)


async def test_refunds_go_through_stripe(shop: World, server: StripeServer) -> None:
    team = Team()
    payment = await shop.started(team)
    session = server.pay(payment["external_payment_id"])
    await tell(shop, event_of(session))
    await shop.until(team, payment, lambda p: p["status"] == "completed")
    refunds = shop.core.refunds
    args = (payment["payment_id"], "1.00", "c1", "asked for", "admin")
    first = await refunds.refund(*args)
    again = await refunds.refund(*args)
    assert (first.id, first.status, len(server.refunds)) == (again.id, "completed", 1)
    assert server.given(session["payment_intent"]) == 100


@pytest.mark.parametrize("others", [0, 3])
async def test_a_refund_is_repeated_after_stripe_forgot_its_key(shop: World, server: StripeServer, others: int) -> None:
    """Given back, the answer lost, and nobody asked again for more than a day: it is found by what we told of it."""
    team = Team()
    payment = await shop.started(team)
    session = server.pay(payment["external_payment_id"])
    await tell(shop, event_of(session))
    await shop.until(team, payment, lambda p: p["status"] == "completed")
    refunds = shop.core.refunds
    server.trouble = "silent"
    with pytest.raises(ProviderUnavailable):
        await refunds.refund(payment["payment_id"], "1.00", "c1", "asked for", "admin")
    server.trouble, server.page = None, 2
    for number in range(others):
        await refunds.refund(payment["payment_id"], "0.10", f"other-{number}", "asked for", "admin")
    server.keys.clear()
    await query(shop.dsn.superuser, "UPDATE payment_refund SET next_try_at = now() WHERE status = 'pending'")
    await refunds.run()
    ((status, external),) = await query(
        shop.dsn.worker, "SELECT status, external_id FROM payment_refund WHERE client_id = 'c1'"
    )
    assert (status, server.refunds[external]["amount"]) == ("completed", 100)
    assert server.given(session["payment_intent"]) == 100 + 10 * others, "once"


async def test_a_refund_that_stripe_never_heard_of_is_repeated(shop: World, server: StripeServer) -> None:
    team = Team()
    payment = await shop.started(team)
    session = server.pay(payment["external_payment_id"])
    await tell(shop, event_of(session))
    await shop.until(team, payment, lambda p: p["status"] == "completed")
    refunds = shop.core.refunds
    server.trouble = (500, "api_error", "x")
    with pytest.raises(ProviderUnavailable):
        await refunds.refund(payment["payment_id"], None, "c1", "asked for", "admin")
    for server.trouble in ((500, "api_error", "x"), None):
        await query(shop.dsn.superuser, "UPDATE payment_refund SET next_try_at = now() WHERE status = 'pending'")
        await refunds.run()
    assert server.given(session["payment_intent"]) == 300
    assert (await refunds.refund(payment["payment_id"], None, "c1", "asked for", "admin")).status == "completed"


async def test_where_it_is_not_set_up_it_is_not_there(world: World) -> None:
    assert (await tell(world, {"id": "evt_1"}))[0] == 404
    assert (await world.call("POST", "/api/payments/paypal/webhook", {}, who=Principal()))[0] == 404
    assert await query(world.dsn.worker, "SELECT 1 FROM payment_callback") == []


@pytest.mark.parametrize("body", ["{}", '{"é": "日本"}', ""])
def test_signatures_are_the_sdks(body: str) -> None:
    header = stripe.WebhookSignature.generate_signature_header(body, SECRETS[0], 1_700_000_000)
    raw = body.encode()
    assert stripe_signature_matches(SECRETS, header, raw) == (True, "1700000000")
    assert stripe_signature_matches(SECRETS, f"{header},v1=00,v0=zz", raw)[0]
    for other, content in ((header, raw + b" "), (header.replace("t=1", "t=2"), raw), (header[:-1], raw), ("", raw)):
        assert not stripe_signature_matches(SECRETS, other, content)[0]
    assert not stripe_signature_matches([], header, raw)[0]
    assert not stripe_signature_matches(["whsec_other"], header, raw)[0]
    assert not stripe_signature_matches(SECRETS, header.replace("v1=", "v0="), raw)[0]


@pytest.mark.parametrize(
    ("money", "told"),
    [
        (Money(300, "EUR"), 300),
        (Money(300, "JPY"), 300),
        (Money(3, "ISK"), 300),
        (Money(3, "UGX"), 300),
        (Money(300, "MGA"), 3),
        (Money(1230, "KWD"), 1230),
    ],
)
def test_stripes_way_to_count(money: Money, told: int) -> None:
    assert stripe_amount(money) == told
    assert money_of(told, money.currency) == money


@pytest.mark.parametrize("money", [Money(1, "MGA"), Money(1231, "KWD")])
def test_too_fine_for_stripe(money: Money) -> None:
    with pytest.raises(ProviderRefused):
        stripe_amount(money)
