"""Callbacks from elsewhere, callbacks that cannot be stored, callbacks that cannot be worked off."""

import asyncio
import shutil
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.billing.errors import CallbackNotStored
from services.billing.payments.callbacks import CallbackIntake
from services.billing.payments.processing import ATTEMPTS
from services.billing.payments.rules import comes_from, next_attempt
from services.billing.settings import Settings
from shared.security import Principal, sign
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.services.billing.door import SECRET
from tests.services.billing.world import KEY, SERVICE, Team, World, running, signed, told

ADMIN = Principal(kind="user", user_id=uuid4(), is_admin=True)


def headers_of(raw: bytes, event: str, address: str | None = None) -> dict[str, str]:
    stamp = str(int(time.time()))
    headers = {"webhook-id": event, "webhook-timestamp": stamp, "webhook-signature": signed(KEY, event, stamp, raw)}
    headers["stowage-internal"] = sign(Principal(), secret=SECRET, audience="billing", issuer="gateway")
    return headers if address is None else {**headers, "stowage-client-address": address}


async def test_only_from_where_providers_are(billing_db: ServiceDatabase) -> None:
    raw = b"{}"
    async with running(billing_db, payment_callback_sources="10.1.0.0/16, 2001:db8::/32") as world:
        for address, status in [
            ("10.1.2.3", 202),
            ("::ffff:10.1.2.3", 202),
            ("2001:db8::7", 202),
            ("10.2.0.1", 403),
            ("", 403),
            ("unknown", 403),
            (None, 403),
        ]:
            url, headers = f"{world.url}/api/payments/callback", headers_of(raw, uuid4().hex, address)
            async with world.http.post(url, data=raw, headers=headers) as answer:
                assert answer.status == status, address
        rows = await query(billing_db.worker, "SELECT reason FROM payment_callback WHERE NOT authentic")
        assert len(rows) == 4
        assert "10.2.0.1 is not among the allowed sources" in {row["reason"] for row in rows}


def test_an_empty_list_is_everywhere_and_nonsense_is_refused() -> None:
    assert comes_from([], "anything")
    with pytest.raises(ValueError, match="payment_callback_sources"):
        Settings(payment_callback_sources="10.0.0.1/8")


async def test_what_is_not_stored_is_not_acknowledged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with the database, and however long it takes to say so."""
    raw = b"{}"

    class Broken:
        def __init__(self, error: Exception | None) -> None:
            self._error = error

        def acquire(self) -> "Broken":
            return self

        async def __aenter__(self) -> Any:
            if self._error is None:
                await asyncio.sleep(60)
            raise self._error or AssertionError

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr("services.billing.payments.callbacks.STORE_SECONDS", 0.1)
    for error in (ConnectionRefusedError(), asyncpg.CannotConnectNowError(), asyncpg.InterfaceError("x"), None):
        broken: Any = Broken(error)
        intake = CallbackIntake(broken, world.core.envelopes, [], world.core.clock, lambda: None)
        with pytest.raises(CallbackNotStored) as found:
            await intake.take("external", raw, headers_of(raw, "evt_1"))
        assert found.value.status == 503


async def test_the_database_is_down_and_comes_back() -> None:
    folder = Path(tempfile.mkdtemp(prefix="stowage-down-"))
    server = PostgresServer(folder)
    server.start()
    try:
        async with running(server.create("billing")) as world:
            team = Team()
            payment = await world.started(team)
            server.stop()
            status, _ = await world.callback(told(payment), event="evt_1")
            assert status == 503
            server.start()
            async with asyncio.timeout(30):
                while (await world.callback(told(payment), event="evt_1"))[0] not in {200, 202}:
                    await asyncio.sleep(0.2)
            await world.until(team, payment, lambda p: p["status"] == "completed")
            assert (await world.subscription(team))["version"] == 2
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


ACKNOWLEDGED = 0.1  # seconds


@pytest.mark.alone
async def test_acknowledged_at_once_however_slow_the_rest_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A settlement that holds its payment for seconds does not hold up the next callback about it."""
    team = Team()
    payment = await world.started(team)
    slow = world.core.settlement.settle
    holding = asyncio.Event()

    async def dawdle(*args: Any) -> Any:
        verdict = await slow(*args)
        holding.set()
        await asyncio.sleep(1.5)
        return verdict

    monkeypatch.setattr(world.core.settlement, "settle", dawdle)
    await world.callback(told(payment, "processing"))
    await holding.wait()
    taken = []
    for n in range(300):
        begun = time.perf_counter()
        assert (await world.callback(told(payment), event=f"evt_{n % 150}"))[0] in {200, 202}
        taken.append(time.perf_counter() - begun)
    assert sorted(taken)[int(len(taken) * 0.99)] < ACKNOWLEDGED, sorted(taken)[-10:]


class Failing:
    """A settlement that fails for one payment until it is mended."""

    def __init__(self, world: World, payment: dict[str, Any]) -> None:
        self._settle = world.core.settlement.settle
        self._payment = payment["payment_id"]
        self.mended = False
        self.seen: list[str] = []

    async def settle(self, connection: Any, claim: Any, source: str) -> Any:
        if claim.payment_id == self._payment and not self.mended:
            self.seen.append(claim.status)
            # With a statement that spoils the transaction, as real trouble does.
            await connection.execute("SELECT 1/0")
        return await self._settle(connection, claim, source)


async def test_tried_again_in_order_given_up_and_replayed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    team, other = Team(), Team(slug="bob")
    payment, fine = await world.started(team), await world.started(other)
    failing = Failing(world, payment)
    monkeypatch.setattr(world.core.settlement, "settle", failing.settle)
    await world.callback(told(payment, "processing"), event="first")
    await world.callback(told(payment), event="second")
    await world.callback(told(fine))
    await world.until(other, fine, lambda p: p["status"] == "completed")
    await attempts(world, "first", 1)
    (row,) = await query(world.dsn.worker, "SELECT * FROM payment_callback WHERE event_id = 'second'")
    assert (row["verdict"], row["attempts"]) == ("received", 0), "it does not pass the first"
    for done in range(1, ATTEMPTS):
        await query(world.dsn.worker, "UPDATE payment_callback SET next_attempt_at = now() WHERE attempts > 0")
        await world.callbacks.work()
        await attempts(world, "first", done + 1)
    assert failing.seen[:ATTEMPTS] == ["processing"] * ATTEMPTS
    _, page = await world.call("GET", "/api/admin/billing/callbacks?verdict=dead", who=ADMIN)
    (dead,) = page["items"]
    assert (dead["event_id"], dead["attempts"]) == ("first", ATTEMPTS)
    assert dead["error"].startswith("DivisionByZeroError")
    path = f"/api/admin/billing/callbacks/{dead['id']}"
    _, whole = await world.call("GET", path, who=ADMIN)
    assert (whole["encoding"], whole["body"]["type"]) == ("json", "payment.processing")
    failing.mended = True
    status, body = await world.call("POST", f"{path}/replay", who=ADMIN)
    assert (status, body["verdict"], body["replayed_by"]) == (202, "received", str(ADMIN.user_id))
    await query(world.dsn.worker, "UPDATE payment_callback SET next_attempt_at = NULL")
    seen = await world.until(team, payment, lambda p: p["status"] == "completed")
    assert [c["verdict"] for c in seen["callbacks"]] == ["accepted", "accepted"], "in its old place"
    status, body = await world.call("POST", f"{path}/replay", who=ADMIN)
    assert (status, body["code"]) == (409, "callback_not_dead")


async def attempts(world: World, event: str, wanted: int) -> None:
    async with asyncio.timeout(10):
        while (await query(world.dsn.worker, "SELECT attempts FROM payment_callback WHERE event_id = $1", event))[0][
            0
        ] < wanted:
            await asyncio.sleep(0.02)


async def test_who_may_look(world: World) -> None:
    for method, path in (("GET", ""), ("GET", f"/{uuid4()}"), ("POST", f"/{uuid4()}/replay")):
        status, _ = await world.call(method, f"/api/admin/billing/callbacks{path}", who=Team().principal)
        assert status == 403
        status, _ = await world.call(method, f"/api/admin/billing/callbacks{path}", who=SERVICE)
        assert status in {401, 403}
    status, body = await world.call("GET", f"/api/admin/billing/callbacks/{uuid4()}", who=ADMIN)
    assert (status, body["code"]) == (404, "callback_not_found")


def test_ever_more_rarely_and_at_most_every_five_minutes() -> None:
    waits = [next_attempt(n) for n in range(1, 20)]
    assert waits[:4] == [timedelta(seconds=s) for s in (1, 2, 4, 8)]
    assert max(waits) == timedelta(minutes=5)
