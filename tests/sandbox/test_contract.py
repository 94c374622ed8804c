"""The wire contract, the page, and each switch."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.conftest import Sandbox, sandbox_at, shop


async def paid(sandbox: Sandbox, count: int, **switches: Any) -> list[tuple[str, bool, dict[str, Any]]]:
    """What the shop gets for one Pay under the switches."""
    _, payment = await sandbox.initiate()
    await sandbox.call("POST", "/sandbox/behaviour", {"payment_id": payment["payment_id"], **switches})
    await sandbox.call("POST", f"/sandbox/payments/{payment['external_payment_id']}/pay")
    return await got(sandbox, count)


async def got(sandbox: Sandbox, count: int) -> list[tuple[str, bool, dict[str, Any]]]:
    async with asyncio.timeout(10):
        while len(sandbox.shop.got) < count:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert len(sandbox.shop.got) == count
    return sandbox.shop.got


async def test_initiate_status_cancel(sandbox: Sandbox) -> None:
    status, payment = await sandbox.initiate()
    assert (status, payment["status"]) == (201, "pending")
    assert payment["payment_url"] == f"{sandbox.url}/pay/{payment['external_payment_id']}"
    assert payment["qr_code"].startswith("data:image/svg+xml")
    again = await sandbox.initiate(payment_id=payment["payment_id"])
    assert again == (201, payment), "the same order is the same payment"
    assert (await sandbox.initiate(payment_id=payment["payment_id"], amount="4.00"))[0] == 422
    path = f"/api/v1/payments/{payment['external_payment_id']}"
    status, seen = await sandbox.call("GET", f"{path}/status")
    assert (status, set(seen)) == (
        200,
        {"external_payment_id", "payment_id", "status", "amount", "currency", "transaction_id", "completed_at"},
    )
    assert (await sandbox.call("POST", f"{path}/cancel"))[1]["status"] == "cancelled"
    assert (await sandbox.call("POST", f"/sandbox/payments/{payment['external_payment_id']}/pay"))[1]["status"] == (
        "cancelled"
    ), "the first one counts"


async def test_only_with_the_key(sandbox: Sandbox) -> None:
    assert (await sandbox.initiate(key="wrong"))[0] == 401
    for method, what in (("GET", "status"), ("POST", "cancel")):
        assert (await sandbox.call(method, f"/api/v1/payments/x/{what}", key="wrong"))[0] == 401
        assert (await sandbox.call(method, f"/api/v1/payments/x/{what}"))[0] == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"callback_url": "http://192.0.2.1/callback"},
        {"callback_url": "http://stowage.example/callback"},
        {"callback_url": "http://127.0.0.1.stowage.example/"},
        {"callback_url": "nonsense"},
        {"callback_url": "http://[::1"},
        {"return_url": "javascript:alert(1)"},
        {"amount": "-3.00"},
        {"amount": 3},
        {"currency": "euro"},
        {"method": "cash"},
        {"payment_id": ""},
    ],
)
async def test_orders_refused(sandbox: Sandbox, changes: dict[str, Any]) -> None:
    status, body = await sandbox.initiate(**changes)
    assert status == 422
    assert "\n" not in body["error"]


async def test_well_behaved(sandbox: Sandbox) -> None:
    calls = await paid(sandbox, 2)
    assert [(good, body["type"]) for _, good, body in calls] == [
        (True, "payment.processing"),
        (True, "payment.completed"),
    ]
    assert len({event for event, _, _ in calls}) == 2
    data = calls[1][2]["data"]
    assert (data["status"], data["amount"], data["currency"]) == ("completed", "3.00", "EUR")
    assert set(data) == {
        "external_payment_id", "payment_id", "status", "amount", "currency", "transaction_id", "occurred_at",
    }  # fmt: skip


async def test_copies_in_reverse(sandbox: Sandbox) -> None:
    calls = await paid(sandbox, 6, deliveries=3, order="reverse")
    assert [body["data"]["status"] for _, _, body in calls] == ["completed"] * 3 + ["processing"] * 3
    assert len({event for event, _, _ in calls}) == 2


async def test_forged_and_wrong_come_first(sandbox: Sandbox) -> None:
    calls = await paid(sandbox, 4, forged=True, wrong_amount="1.00")
    assert [good for _, good, _ in calls] == [False, True, True, True]
    assert [body["data"]["amount"] for _, _, body in calls] == ["3.00", "1.00", "3.00", "3.00"]
    assert calls[0][0] == calls[3][0], "the forgery comes under the real one's id"
    assert calls[1][0] not in {calls[2][0], calls[3][0]}


async def test_never_then_redelivered(sandbox: Sandbox) -> None:
    _, payment = await sandbox.initiate()
    external = payment["external_payment_id"]
    assert (await sandbox.call("POST", f"/sandbox/redeliver/{external}"))[0] == 404
    await sandbox.call("POST", "/sandbox/behaviour", {"never": True})
    await sandbox.call("POST", f"/sandbox/payments/{external}/fail")
    await got(sandbox, 0)
    for count in (2, 4):
        assert (await sandbox.call("POST", f"/sandbox/redeliver/{external}")) == (200, {"events": 2})
        calls = await got(sandbox, count)
    assert [event for event, _, _ in calls[:2]] == [event for event, _, _ in calls[2:]]
    assert [body["data"]["status"] for _, _, body in calls] == ["processing", "failed"] * 2


async def test_late(sandbox: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await paid(sandbox, 2, delay_ms=300)
    assert loop.time() - start >= 0.3


async def test_tried_again_until_it_is_answered(sandbox: Sandbox) -> None:
    sandbox.shop.answers = [503, 202, 500, 302, 202]
    calls = await paid(sandbox, 5)
    first, second = calls[0][0], calls[1][0]
    assert [event for event, _, _ in calls] == [first, second, first, first, first]


async def test_a_refusal_is_an_answer(sandbox: Sandbox) -> None:
    sandbox.shop.answers = [401, 400]
    await paid(sandbox, 2)


@pytest.mark.parametrize(
    "switches", [{"deliveries": "3"}, {"order": "random"}, {"nonsense": 1}, {"delay_ms": -1}, [], "x", {"never": 1}]
)
async def test_switches_that_are_none(sandbox: Sandbox, switches: Any) -> None:
    assert (await sandbox.call("POST", "/sandbox/behaviour", switches))[0] == 422


async def test_switches_of_one_payment_and_of_all(sandbox: Sandbox) -> None:
    await sandbox.call("POST", "/sandbox/behaviour", {"deliveries": 2})
    await paid(sandbox, 2, deliveries=1)
    _, other = await sandbox.initiate()
    await sandbox.call("POST", f"/sandbox/payments/{other['external_payment_id']}/pay")
    await got(sandbox, 6)
    await sandbox.call("POST", "/sandbox/behaviour", {})
    _, third = await sandbox.initiate()
    await sandbox.call("POST", f"/sandbox/payments/{third['external_payment_id']}/pay")
    await got(sandbox, 8)


async def test_the_page(sandbox: Sandbox) -> None:
    _, payment = await sandbox.initiate(team="<b>ada</b>", method="mobile_money")
    async with sandbox.http.get(payment["payment_url"]) as answer:
        text = await answer.text()
        assert answer.status == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    for part in ("3.00 EUR", "Mobile money", 'value="pay"', 'value="fail"', 'value="cancel"', "data:image/svg+xml"):
        assert part in text
    assert "<b>ada</b>" not in text.replace("<b>&lt;", "")
    async with sandbox.http.post(payment["payment_url"], data={"action": "fly"}) as answer:
        assert answer.status == 404
    async with sandbox.http.post(payment["payment_url"], data={"action": "pay"}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["location"]) == (303, "http://127.0.0.1:1/app")
    async with sandbox.http.get(payment["payment_url"]) as answer:
        text = await answer.text()
    assert "completed" in text
    assert "<form" not in text
    async with sandbox.http.get(f"{sandbox.url}/pay/unknown") as answer:
        assert answer.status == 404


async def test_kept_over_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "payments"
    async with shop() as taker:
        async with sandbox_at(home, taker) as first:
            _, open_one = await first.initiate()
            _, closed = await first.initiate()
            await first.call("POST", f"/sandbox/payments/{closed['external_payment_id']}/pay")
            before = list(await got(first, 2))
        async with sandbox_at(home, taker) as second:
            _, seen = await second.call("GET", f"/api/v1/payments/{closed['external_payment_id']}/status")
            assert seen["status"] == "completed"
            await second.call("POST", f"/sandbox/redeliver/{closed['external_payment_id']}")
            assert (await got(second, 4))[2:] == before, "under the same ids"
            paid_now = await second.call("POST", f"/sandbox/payments/{open_one['external_payment_id']}/pay")
            assert paid_now[1]["status"] == "completed"
            await got(second, 6)


async def test_health(sandbox: Sandbox) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await sandbox.call("GET", path))[0] == 200
