"""Processes killed at every step under load: nothing lost, nothing doubled, and the proof says so.

`make test` does 38 kills, `make faults N=300` more. Clients repeat what failed with the same Idempotency-Key, as the
documentation tells them to.
"""

import asyncio
import contextlib
import io
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from deploy.local.demo.client import DemoFailed, Person, read
from tests.fixtures.stack import Stack, person, require_kafka, started

KILLS = int(os.environ.get("FAULTS", "38"))
LIFETIME = 6  # seconds a reservation lives here
ROOM = 40_000_000  # bytes each of the loads stores at most

# (process, the step it dies at; None is wherever it is just then). Broker and database take longest to come back.
STEPS: list[tuple[str, str | None]] = [
    ("upload", "upload.reserved:3"),
    ("upload", "upload.streaming:3"),
    ("upload", "upload.placed:3"),
    ("upload", "upload.settled:3"),
    ("billing", "billing.opened"),
    ("billing:worker", "billing.settled"),
    ("upload:worker", "upload.sent"),
    ("usage:worker", "usage.batch:2"),
    ("upload", None),
    ("billing", "billing.stored"),
    ("billing:worker", None),
    ("upload:worker", None),
    ("usage:worker", None),
    ("upload:worker", "upload.sent:2"),
    ("usage:worker", "usage.batch"),
    ("upload", "upload.placed"),
    ("postgres", None),
    ("billing", None),
    ("upload", "upload.settled"),
    ("gateway", None),
    ("broker", None),
]


@dataclass
class Client:
    """Repeats until it has an answer."""

    who: Person
    repeats: int = 0
    stop: bool = False

    async def run(self) -> None:
        raise NotImplementedError

    async def until(self, wanted: set[int], act: Any) -> Any:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, DemoFailed):
                async with asyncio.timeout(30):
                    answer = await act()
                if answer.status in wanted:
                    return answer
                if answer.status == 401:  # the access token has expired
                    await self.who.sign_in()
                    continue
                assert answer.status in {400, 409, 500, 502, 503, 504}, answer
            self.repeats += 1
            await asyncio.sleep(0.05)


@dataclass
class Buyer(Client):
    """Buys a pack of credits, pays for it, and buys the next one when it has been told that it is paid."""

    payments: str = ""  # the provider's address
    bought: int = 0

    async def run(self) -> None:
        while not self.stop:
            payment = await self._open()
            pay = f"{self.payments}/sandbox/payments/{payment['payment_url'].rsplit('/', 1)[-1]}/pay"
            await self.until({200, 409}, lambda url=pay: self.who.call("POST", url))
            await self._wait(f"/api/payments/{payment['payment_id']}/status")
            self.bought += 1

    async def _wait(self, path: str) -> None:
        while (await self.until({200}, lambda: self.who.call("GET", path))).body["status"] != "completed":
            await asyncio.sleep(0.2)

    async def _open(self) -> Any:
        """Whose answer was lost is told of it by the next one's refusal."""
        body = {"pack": "small", "method": "mobile_money"}
        while True:
            answer = await self.until({201, 409}, lambda: self.who.call("POST", "/api/credits/purchase", body))
            if answer.body.get("payment_url"):
                return answer.body
            await asyncio.sleep(0.1)


@dataclass
class Load(Client):
    """People who upload and delete."""

    chance: random.Random = field(default_factory=random.Random)
    stored: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        while not self.stop:
            if self.stored and self.chance.random() < 0.2:
                await self._delete(self.chance.choice(sorted(self.stored)))
            size, key = self.chance.choice([0, 10, 3_000, 70_000, 1_500_000]), str(uuid4())
            while sum(self.stored.values()) + size > ROOM:
                # The largest: small ones alone would soon be all there is, and they take shorter ways.
                await self._delete(max(self.stored, key=lambda file: self.stored[file]))
            answer = await self.until({201}, lambda s=size, k=key: upload(self.who, s, k))
            self.stored[answer.body["file_id"]] = size

    async def _delete(self, file_id: str) -> None:
        await self.until({204, 404}, lambda: self.who.call("DELETE", f"/api/storage/files/{file_id}"))
        del self.stored[file_id]


async def upload(who: Person, size: int, key: str) -> Any:
    form = aiohttp.FormData()
    form.add_field("category", "documents")
    form.add_field("file", io.BytesIO(b"x" * size), filename="load.bin")
    headers = {"Authorization": f"Bearer {who.token}", "X-File-Size": str(size), "Idempotency-Key": key}
    async with who._session.post(f"{who.url}/api/storage/upload", data=form, headers=headers) as answer:
        return await read(answer)


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """On real Kafka, with reservations that do not live long."""
    require_kafka()
    with started("kafka", RESERVATION_SECONDS=str(LIFETIME)) as running:
        yield running


@pytest.mark.alone
@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(300 + KILLS * 12)
async def test_killed_at_every_step_nothing_is_lost_or_doubled(own_stack: Stack, http: aiohttp.ClientSession) -> None:
    stack, chance = own_stack, random.Random(11)
    people = [await person(stack, http) for _ in range(3)]
    loads = [Load(who, chance=random.Random(n)) for n, who in enumerate(people * 2)]
    buyers = [Buyer(who, payments=stack.status["payments_url"]) for who in people]
    running = [asyncio.create_task(client.run()) for client in [*loads, *buyers]]
    killed: Counter[str] = Counter()
    while sum(killed.values()) < KILLS:
        for name, step in STEPS:
            await asyncio.to_thread(kill, stack, name, step, killed)
            await asyncio.sleep(chance.random() * 0.3)
            failed = [task for task in running if task.done()]
            await asyncio.gather(*failed)
            if sum(killed.values()) >= KILLS:
                break
    for client in (*loads, *buyers):
        client.stop = True
    await asyncio.gather(*running)
    wait_ready(stack)
    assert {"upload", "upload:worker", "usage:worker", "billing", "billing:worker", "postgres"} <= set(killed)
    for who in people:
        await who.sign_in()
        expected = [size for load in loads if load.who is who for size in load.stored.values()]
        await settled(who, sum(expected))
        await judged(stack, who, expected)
    for buyer in buyers:
        assert buyer.bought > 0
        await paid_once(stack, buyer)
    print(f"\n{sum(killed.values())} kills ({dict(killed)}), {sum(load.repeats for load in loads)} repeated requests")  # noqa: T201 - what was measured
    for service in ("upload", "usage", "gateway", "billing"):
        assert await stack.query(service, "SELECT 1 FROM dead_letter") == []


async def settled(who: Person, expected: int) -> None:
    """Everything has been counted, and no reservation outlived its time."""
    deadline = time.monotonic() + LIFETIME * 2 + 40
    while True:
        quota, summary = await who.get("/api/storage/quota"), await who.get("/api/usage/summary")
        assert quota["used"] == expected
        if quota["reserved"] == 0 and summary["storage"]["used"] == expected:
            return
        assert time.monotonic() < deadline, (quota, summary["storage"])
        await asyncio.sleep(0.2)


async def judged(stack: Stack, who: Person, expected: list[int]) -> None:
    tenant = who.tenant["id"]
    proof = await who.get("/api/usage/proof")
    assert proof["equal"] is True
    for part in ("ledger", "counters", "store"):
        assert proof[part]["bytes"] == sum(expected), part
        assert proof[part]["files"] == len(expected), part
    seqs = await stack.query("upload", "SELECT seq FROM storage_transaction WHERE tenant_id = $1 ORDER BY seq", tenant)
    assert [row["seq"] for row in seqs] == list(range(1, proof["position"] + 1))
    keys = await stack.query(
        "upload", "SELECT count(*) - count(DISTINCT idempotency_key) AS n FROM stored_file WHERE tenant_id = $1", tenant
    )
    assert keys[0]["n"] == 0


_PAID = """
    SELECT (SELECT count(*) FROM payment WHERE tenant_id = $1 AND status = 'completed') AS payments,
        (SELECT count(*) FROM payment WHERE tenant_id = $1) AS asked,
        (SELECT count(DISTINCT payment_id) FROM invoice WHERE tenant_id = $1 AND status = 'paid') AS invoices,
        (SELECT count(*) FROM credit_grant WHERE tenant_id = $1 AND source = 'purchase') AS grants,
        (SELECT available FROM credit_account WHERE tenant_id = $1) AS available,
        (SELECT coalesce(sum(amount), 0) FROM credit_posting WHERE tenant_id = $1) AS total
"""
_WAITING = "SELECT verdict, error FROM payment_callback WHERE verdict IN ('received', 'dead')"


async def paid_once(stack: Stack, buyer: Buyer) -> None:
    """As many packs as were paid for, each granted and invoiced once, and no callback is left."""
    (row,) = await stack.query("billing", _PAID, buyer.who.tenant["id"])
    number = buyer.bought
    assert tuple(row) == (number, number, number, number, 100 * number, 0), dict(row)
    deadline = time.monotonic() + 20
    while waiting := await stack.query("billing", _WAITING):
        assert time.monotonic() < deadline, [tuple(row) for row in waiting]
        await asyncio.sleep(0.2)


def kill(stack: Stack, name: str, step: str | None, killed: Counter[str]) -> None:
    """Now, or at the step: then the process is started anew first, with its death in its instructions."""
    before = wait_ready(stack, name)
    if step is not None:
        (stack.home / "run" / "faults.json").write_text(json.dumps({name: step}))
    os.kill(before["pid"], signal.SIGKILL)
    killed[name] += 1
    again = wait_again(stack, name, before["restarts"] + 1)
    if step is not None:
        wait_again(stack, name, again["restarts"] + 1)
        killed[f"{name} at {step.split(':')[0]}"] += 1


def wait_again(stack: Stack, name: str, restarts: int, seconds: float = 40) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (found := _entry(stack, name))["restarts"] < restarts or found["pid"] is None:
        assert time.monotonic() < deadline, f"{name} did not come back or did not die: {found}"
        time.sleep(0.05)
    return found


def wait_ready(stack: Stack, name: str | None = None, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        entries = [e for e in _state(stack)["services"] if name in {None, e["name"]}]
        # What has no health of its own counts as ready when it runs.
        if all(e["pid"] and (e["state"] == "ready" or e["name"] in {"postgres", "broker"}) for e in entries):
            return entries[0]  # type: ignore[no-any-return]
        assert time.monotonic() < deadline, entries
        time.sleep(0.05)


def _entry(stack: Stack, name: str) -> dict[str, Any]:
    return next(e for e in _state(stack)["services"] if e["name"] == name)


def _state(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((stack.home / "run" / "state.json").read_text())
    return found
