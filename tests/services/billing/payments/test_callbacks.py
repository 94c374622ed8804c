"""Intake: what is stored, what is believed, and what each gets for an answer."""

import asyncio
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.payments.callbacks import MAX_FORGERY
from services.billing.payments.inbox import FORGERIES_KEPT, sweep
from tests.fixtures.postgres import query
from tests.services.billing.world import KEY, OLD_KEY, Team, World, signed, told


async def rows(world: World) -> list[Any]:
    return await query(world.dsn.worker, "SELECT * FROM payment_callback ORDER BY received_at, id")


async def test_stored_and_acknowledged_at_once(world: World) -> None:
    body = told({"external_payment_id": "x", "payment_id": str(uuid4())})
    assert (await world.callback(body))[0] == 202
    (row,) = await rows(world)
    assert (bytes(row["body"]), row["authentic"]) == (orjson.dumps(body), True)


async def test_the_same_event_again_is_counted(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    answers = await asyncio.gather(*[world.callback(told(payment), event="evt_1") for _ in range(5)])
    assert sorted(status for status, _ in answers) == [200, 200, 200, 200, 202]
    seen = await world.until(team, payment, lambda p: p["status"] == "completed")
    assert sorted(c["verdict"] for c in seen["callbacks"]) == ["accepted", *["duplicate"] * 4]
    assert len(await rows(world)) == 1


async def test_keys_may_rotate(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    assert (await world.callback(told(payment, "processing"), key=OLD_KEY))[0] == 202
    raw = orjson.dumps(told(payment))
    both = "v1,AAAA v1a,BBBB v2,CCCC " + signed(KEY, "evt_9", "{stamp}", raw)
    assert (await world.callback(raw, event="evt_9", signature=both))[0] == 401, "signed over another time"
    assert (await world.callback(raw, event="evt_9"))[0] == 202
    await world.until(team, payment, lambda p: p["status"] == "completed")


@pytest.mark.parametrize("signature", ["", "v1,", "v1,AAAA", "nonsense", "v1," + "é" * 9, "v2,x v1", "v1,,v1, "])
async def test_a_forgery_is_kept_and_takes_no_ones_place(world: World, signature: str) -> None:
    team = Team()
    payment = await world.started(team)
    status, body = await world.callback(told(payment), event="evt_1", signature=signature or "v1")
    assert (status, body["code"]) == (401, "invalid_signature")
    assert (await world.callback(told(payment), event="evt_1"))[0] == 202, "the real one under the same id"
    seen = await world.until(team, payment, lambda p: p["status"] == "completed")
    assert [(c["verdict"], c["reason"]) for c in seen["callbacks"]] == [
        ("rejected", "the signature does not match"),
        ("accepted", None),
    ]


async def test_an_altered_body_an_altered_id_another_time(world: World) -> None:
    raw = orjson.dumps(told({"external_payment_id": "x", "payment_id": str(uuid4())}))
    good = signed(KEY, "evt_1", "1", raw)
    for body, event in [(raw + b" ", "evt_1"), (raw, "evt_2"), (raw, "evt_1")]:
        assert (await world.callback(body, event=event, signature=good))[0] == 401
    assert {(r["verdict"], r["authentic"]) for r in await rows(world)} == {("rejected", False)}


@pytest.mark.parametrize("age", [302, 3600, -302, 10**9])
async def test_outside_the_window(world: World, age: float) -> None:
    team = Team()
    payment = await world.started(team)
    status, body = await world.callback(told(payment), event="evt_1", age=age)
    assert (status, body["code"]) == (400, "outside_time_window")
    seen = await world.status(team, payment)
    assert [(c["verdict"], c["reason"]) for c in seen["callbacks"]] == [("rejected", "outside the time window")]
    assert (await world.callback(told(payment), event="evt_1", age=age / abs(age) * 295))[0] == 202


async def test_a_body_too_big_is_not_read(world: World) -> None:
    status, body = await world.callback(b"x" * (64 * 1024 + 1))
    assert (status, body["code"]) == (413, "body_too_large")
    assert await rows(world) == []
    assert (await world.callback(b"x" * (64 * 1024)))[0] == 202, "the limit itself is not too much"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": "3.01"}, "amount 3.01 instead of 3.00"),
        ({"amount": "-3.00"}, "amount -3.00 instead of 3.00"),
        ({"currency": "USD"}, "currency USD instead of EUR"),
        ({"payment_id": "00000000-0000-7000-8000-000000000000"}, "no such payment"),
        ({"external_payment_id": "sbx_another"}, "payment ids do not belong together"),
    ],
)
async def test_what_contradicts_the_order_is_rejected(world: World, changes: dict[str, str], reason: str) -> None:
    team = Team()
    payment = await world.started(team)
    assert (await world.callback(told(payment, **changes)))[0] == 202
    async with asyncio.timeout(5):
        while (await rows(world))[0]["verdict"] == "received":
            await asyncio.sleep(0.02)
    (row,) = await rows(world)
    assert (row["verdict"], row["reason"]) == ("rejected", reason)
    assert (await world.status(team, payment))["status"] == "pending"
    assert (await world.subscription(team))["plan"] == "free"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"payment.completed","data":[]}',
        b'{"type":"payment.completed","data":{"payment_id":7}}',
        b'{"type":{},"data":{}}',
        b'{"type":"payment.refunded","data":{"status":"refunded"}}',
        b"[" * 60_000,
    ],
)
async def test_what_cannot_be_read_is_rejected_and_holds_nobody_up(world: World, body: bytes) -> None:
    team = Team()
    assert (await world.callback(body))[0] == 202
    payment = await world.started(team)
    await world.press(payment)
    await world.until(team, payment, lambda p: p["status"] == "completed")
    assert [r["verdict"] for r in await rows(world)] == ["rejected", "accepted", "accepted"]


@pytest.mark.parametrize(
    "changes",
    [
        {"external_payment_id": None},
        {"external_payment_id": "a\0b"},
        {"transaction_id": 7},
        {"transaction_id": "\0"},
        {"transaction_id": "x" * 300},
        {"amount": 3},
        {"amount": "three"},
        {"currency": "euros"},
        {"status": "processing"},
    ],
)
async def test_signed_nonsense(world: World, changes: dict[str, Any]) -> None:
    team = Team()
    payment = await world.started(team)
    body = told(payment)
    body["data"] |= changes
    assert (await world.callback(body))[0] == 202
    seen = await world.until(team, payment, lambda p: len(p["callbacks"]) == 1)
    assert (seen["status"], seen["callbacks"][0]["verdict"]) == ("pending", "rejected")


async def test_another_payments_id_at_the_provider_is_refused(world: World) -> None:
    """A payment whose own answer never came cannot be settled with somebody else's."""
    first, second = Team(), Team(slug="bob")
    payment, other = await world.started(first), await world.started(second)
    await query(
        world.dsn.worker,
        "UPDATE payment SET external_id = NULL WHERE external_id = $1",
        other["external_payment_id"],
    )
    body = told(payment, payment_id=other["payment_id"])
    assert (await world.callback(body))[0] == 202
    seen = await world.until(second, other, lambda p: len(p["callbacks"]) == 1)
    assert (seen["status"], seen["callbacks"][0]["reason"]) == ("pending", "payment ids do not belong together")


async def test_states_only_move_forward(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    for status in ("completed", "failed", "cancelled", "processing", "completed"):
        assert (await world.callback(told(payment, status)))[0] == 202
    seen = await world.until(team, payment, lambda p: len(p["callbacks"]) == 5)
    assert seen["status"] == "completed"
    assert [c["verdict"] for c in seen["callbacks"]] == ["accepted", *["ignored"] * 4]
    assert all(c["reason"] for c in seen["callbacks"][1:])


async def test_forgeries_by_the_hundred_do_not_hide_the_real_one(world: World) -> None:
    team = Team()
    payment = await world.started(team)
    await asyncio.gather(*[world.callback(told(payment), signature="v1,AAAA") for _ in range(120)])
    await world.callback(told(payment))
    seen = await world.until(team, payment, lambda p: p["status"] == "completed")
    assert len(seen["callbacks"]) == 100
    assert seen["callbacks"][-1]["verdict"] == "accepted"
    async with world.core.database.transaction() as connection:
        await sweep(connection, world.core.clock.now() + FORGERIES_KEPT)
    assert [r["verdict"] for r in await rows(world)] == ["accepted"]


async def test_what_forgeries_take_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can send them: of each the beginning is kept, and of all the newest."""
    for n in range(5):
        assert (await world.callback(b"%d" % n + b"x" * 60_000, signature="v1,AAAA"))[0] == 401
    await world.callback(b"x" * 60_000)
    assert [len(r["body"]) for r in await rows(world)] == [*[MAX_FORGERY] * 5, 60_000]
    monkeypatch.setattr("services.billing.payments.inbox.MOST_FORGERIES", 2)
    async with world.core.database.transaction() as connection:
        await sweep(connection, world.core.clock.now())
    assert [(bytes(r["body"])[:1], r["authentic"]) for r in await rows(world)] == [
        (b"3", False),
        (b"4", False),
        (b"x", True),
    ]


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=300), event=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
async def test_whatever_is_signed_is_answered(world_once: World, body: bytes, event: str) -> None:
    status, _ = await world_once.callback(body, event=event)
    assert status in {200, 202}


@pytest.fixture(scope="session")
async def world_once(pg: Any) -> Any:
    """One for all examples of a property."""
    from tests.services.billing.world import running

    async with running(pg.create("billing")) as started:
        yield started
