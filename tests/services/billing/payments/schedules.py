"""A provider, a team and the worst that can happen between them, step by step; each told what must come of it.

The services are those of the processes, on a real PostgreSQL; only the wire is left out, for there are thousands.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson

from services.billing.credits.packs import PackFulfilment, purchase_of
from services.billing.errors import CallbackNotStored
from services.billing.payments.callbacks import CallbackIntake
from services.billing.payments.external import claim_of
from services.billing.payments.janitor import Janitor
from services.billing.payments.processing import CallbackWorker
from services.billing.payments.provider import Opened, Order, PaymentUnknown, ProviderSilent, Returning
from services.billing.subscriptions.fulfilment import PlanFulfilment
from services.billing.wiring import Core, build_core, register_catalogue
from shared.errors import DomainError
from shared.money import Money
from tests.fixtures.postgres import ServiceDatabase
from tests.services.billing.world import KEY, settings, signed

PRICES = {"plan": Money(300, "EUR"), "credits": Money(499, "EUR")}
PATIENCE = 30.0  # seconds for what was left waiting to come to its end
# An account must be what its grants hold and what its postings sum to.
_GRANTS = "SELECT source, amount, remaining FROM credit_grant WHERE tenant_id = $1"
_ACCOUNT = """
    SELECT coalesce((SELECT available FROM credit_account WHERE tenant_id = $1), 0) AS available,
        coalesce((SELECT sum(amount) FROM credit_posting WHERE tenant_id = $1 AND account = 'available'), 0) AS posted,
        coalesce((SELECT sum(amount) FROM credit_posting WHERE tenant_id = $1), 0) AS total
"""
_INVOICES = "SELECT gross, status, payment_id FROM invoice WHERE tenant_id = $1"
_LOST = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError, CallbackNotStored)

# What must have come of it, by purpose, and whether it came too late: (source, credits, what is left of them).
EFFECTS = {
    ("plan", False): ("plan", 1, 1),
    ("plan", True): ("refund", 61, 61),  # 3.00 of 4.99 for 100, rounded up
    ("credits", False): ("purchase", 100, 100),
    ("credits", True): ("purchase", 100, 100),
}

Step = tuple[str, int]


@dataclass(frozen=True)
class Schedule:
    """`early` happens before the provider answers, and perhaps that answer is lost."""

    purpose: str
    early: list[Step]
    answer_lost: bool
    steps: list[Step]


class Killed(BaseException):
    """As kill -9 does: nothing after it is run, and nothing before it is committed."""


@dataclass
class Affair:
    """One payment, as its provider sees it. `events`: (id, body) of what was to be told, oldest first."""

    money: Money = PRICES["plan"]
    tenant: UUID = field(default_factory=uuid4)
    external: str = field(default_factory=lambda: f"ext_{uuid4().hex}")
    payment: UUID | None = None
    status: str = "pending"
    events: list[tuple[str, bytes]] = field(default_factory=list)
    changed_its_mind: bool = False
    kills: int = 0
    early: list[Step] = field(default_factory=list)
    answer_lost: bool = False

    def become(self, status: str) -> None:
        self.changed_its_mind |= self.status in {"failed", "cancelled"}
        self.status = status
        for told in ("processing", status):
            self.events.append((f"evt_{uuid4().hex}", orjson.dumps(self.told(told))))

    def told(self, status: str, **changes: Any) -> dict[str, Any]:
        data = {
            "external_payment_id": self.external,
            "payment_id": str(self.payment),
            "status": status,
            "amount": self.money.text,
            "currency": "EUR",
            "team": self.tenant.hex,
            **changes,
        }
        return {"type": f"payment.{status}", "data": data}


@dataclass
class Stage:
    core: Core
    intake: CallbackIntake
    worker: CallbackWorker
    janitor: Janitor
    superuser: Any
    affairs: dict[str, Affair] = field(default_factory=dict)  # by team, which is the tenant's id here

    # The provider.

    name = "external"

    async def initiate(self, order: Order) -> Opened:
        affair = self.affairs[order.team]
        affair.payment = order.payment_id
        self.affairs[affair.external] = affair
        early, affair.early = affair.early, []
        for step in early:
            await self.take(affair, step)
        if affair.answer_lost:
            affair.answer_lost = False
            raise ProviderSilent("the line went dead")
        return Opened(affair.external, "http://127.0.0.1/pay", "data:image/png;base64,AA")

    async def status(self, external_id: str) -> Any:
        affair = self.affairs.get(external_id)
        if affair is None:
            raise PaymentUnknown
        return claim_of(affair.told(affair.status)["data"])

    async def cancel(self, external_id: str) -> Any:
        affair = self.affairs[external_id]
        if affair.status == "pending":
            affair.become("cancelled")
        return await self.status(external_id)

    async def refund(self, _returning: Returning) -> str:
        return "rfd_1"

    async def close(self) -> None: ...

    def strike(self, team: str) -> None:
        """Dies, where it was told to."""
        affair = self.affairs[team]
        if affair.kills:
            affair.kills -= 1
            raise Killed

    # The play.

    async def play(self, schedule: Schedule) -> None:
        affair = Affair(PRICES[schedule.purpose], early=list(schedule.early), answer_lost=schedule.answer_lost)
        self.affairs[affair.tenant.hex] = affair
        await self._begin(affair, schedule.purpose)
        for step in schedule.steps:
            await self.take(affair, step)
        await self._end(affair)
        await self._judge(affair, schedule.purpose)

    async def close_up(self) -> None:
        """Nobody asks about what is still open: the next ones would do it all the time."""
        self.affairs.clear()
        await self.superuser.execute("UPDATE payment SET next_check_at = 'infinity' WHERE completed_at IS NULL")

    async def _begin(self, affair: Affair, purpose: str) -> None:
        for _ in range(50):
            try:
                if purpose == "plan":
                    await self.core.payments.initiate(affair.tenant, affair.tenant.hex, "pro", "mobile_money", "/app")
                else:
                    bought = purchase_of(self.core.credit_catalogue, "small", "EUR")
                    await self.core.payments.start(affair.tenant, affair.tenant.hex, bought, "mobile_money", "/app")
            except DomainError:
                pass  # unknown is not failed; or it is open or paid already
            except Killed:
                continue
            except _LOST:
                continue
            if affair.payment is not None:
                return
        raise AssertionError("the payment was never opened")

    async def take(self, affair: Affair, step: Step) -> None:  # noqa: C901 - a table of what can happen
        kind, number = step
        with contextlib.suppress(Killed, DomainError, *_LOST):
            match kind:
                case "pay" if affair.status != "completed":
                    affair.become("completed")
                case "fail" if affair.status == "pending":
                    affair.become("failed")
                case "tell":
                    for _ in range(1 + number % 3):
                        await self._tell(affair, number)
                case "lie":
                    await self._lie(affair, number)
                case "work":
                    await self.worker.work()
                case "ask":
                    await self._ask(affair)
                case "cancel" if affair.payment is not None:
                    await self.core.payments.cancel(affair.tenant, affair.payment)
                case "kill":
                    affair.kills += 1
                case "restart":
                    await self.superuser.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND application_name = 'schedules' AND random() < 0.5"
                    )

    async def _tell(self, affair: Affair, number: int) -> None:
        """Any of what was to be told, again and in any order; or nothing, where nothing was."""
        if affair.events:
            event, body = affair.events[number % len(affair.events)]
            await self._deliver(event, body)

    async def _lie(self, affair: Affair, number: int) -> None:
        event, other = f"evt_{uuid4().hex}", Affair()
        lies: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({}, {"key": "whsec_" + "A" * 32}),
            ({"amount": "0.03"}, {}),
            ({"amount": "300.00"}, {}),
            ({"currency": "USD"}, {}),
            ({"team": other.tenant.hex}, {}),
            ({"external_payment_id": other.external}, {}),
            ({"payment_id": str(uuid4())}, {}),
            ({"amount": "3,00"}, {}),
            ({}, {"age": 400}),
            ({}, {"age": -400}),
        ]
        changes, how = lies[number % len(lies)]
        # One that another tenant's payment was opened with, where there is one.
        others = [a for a in self.affairs.values() if a.payment and a.tenant != affair.tenant]
        if "external_payment_id" in changes and not await self._is_known(affair):
            return  # until the provider has answered, its signed word is all there is
        if "external_payment_id" in changes and others:
            changes = {"external_payment_id": others[number % len(others)].external}
        await self._deliver(event, orjson.dumps(affair.told("completed", **changes)), **how)

    async def _deliver(self, event: str, body: bytes, *, key: str = KEY, age: int = 0) -> None:
        stamp = str(int(time.time()) - age)
        signature = signed(key, event, stamp, body)
        headers = {"webhook-id": event, "webhook-timestamp": stamp, "webhook-signature": signature}
        receipt = await self.intake.take("external", body, headers)
        expected = {401} if key != KEY else {400} if age else {200, 202}
        assert receipt.status in expected, receipt

    async def _ask(self, affair: Affair) -> None:
        async with self.core.database.transaction() as connection:
            # Before those that thousands of schedules have left open for ever: they are asked about, too.
            await connection.execute(
                "UPDATE payment SET next_check_at = now() - interval '1 day' WHERE tenant_id = $1", affair.tenant
            )
        await self.janitor.run()

    async def _end(self, affair: Affair) -> None:
        """Everything has its time: the provider repeats what it changed its mind about, and the janitor asks."""
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE:
            with contextlib.suppress(Killed, *_LOST):
                if affair.changed_its_mind:
                    await self._deliver(*affair.events[-1])
                while await self.worker.work():
                    pass
                await self._ask(affair)
                affair.kills = min(affair.kills, await self._waits(affair))
                if not await self._waits(affair) and await self._status(affair) == affair.status:
                    return
            await asyncio.sleep(0.05)  # somebody else's janitor has it in hand
        waiting = await self.superuser.fetch(
            "SELECT attempts, error, next_attempt_at FROM payment_callback "
            "WHERE payment_id = $1 AND verdict = 'received'",
            affair.payment,
        )
        stands = f"{await self._status(affair)} instead of {affair.status}"
        raise AssertionError(f"{stands}, waiting: {[tuple(row) for row in waiting]}, {affair.kills} kills")

    async def _is_known(self, affair: Affair) -> bool:
        known = "SELECT external_id IS NOT NULL FROM payment WHERE id = $1"
        return bool(await self.superuser.fetchval(known, affair.payment))

    async def _status(self, affair: Affair) -> str:
        return str(await self.superuser.fetchval("SELECT status FROM payment WHERE id = $1", affair.payment))

    async def _waits(self, affair: Affair) -> int:
        return int(
            await self.superuser.fetchval(
                "SELECT count(*) FROM payment_callback WHERE payment_id = $1 AND verdict = 'received'", affair.payment
            )
        )

    async def _judge(self, affair: Affair, purpose: str) -> None:
        """One effect for money that came, none for money that did not; and the books agree."""
        row = await self.superuser.fetchrow("SELECT * FROM payment WHERE tenant_id = $1", affair.tenant)
        assert row["id"] == affair.payment
        assert row["status"] == affair.status, (row["status"], affair)
        plan = await self.superuser.fetchrow(
            "SELECT plan, version FROM subscription WHERE tenant_id = $1", affair.tenant
        )
        had = [tuple(grant) for grant in await self.superuser.fetch(_GRANTS, affair.tenant)]
        if plan is not None and plan["plan"] == "pro":
            assert plan["version"] == 2
            had.append(("plan", 1, 1))
        assert len(had) == (1 if affair.status == "completed" else 0), had
        await self._judge_books(affair)
        await self._judge_events(affair, had, purpose)

    async def _judge_books(self, affair: Affair) -> None:
        """Postings, account and grants agree, and money that came is on one invoice, to the cent."""
        account = await self.superuser.fetchrow(_ACCOUNT, affair.tenant)
        held = sum(grant["remaining"] for grant in await self.superuser.fetch(_GRANTS, affair.tenant))
        assert (account["available"], account["posted"], account["total"]) == (held, held, 0), dict(account)
        invoices = [tuple(row) for row in await self.superuser.fetch(_INVOICES, affair.tenant)]
        paid = [(affair.money.amount, "paid", affair.payment)] if affair.status == "completed" else []
        assert invoices == paid, invoices

    async def _judge_events(self, affair: Affair, had: list[tuple[Any, ...]], purpose: str) -> None:
        steps = await self.superuser.fetch(
            "SELECT from_status, to_status FROM payment_transition WHERE tenant_id = $1 ORDER BY id", affair.tenant
        )
        before = [step["from_status"] for step in steps if step["to_status"] == "completed"]
        types = await self.superuser.fetch("SELECT type FROM outbox_event WHERE tenant_id = $1", affair.tenant)
        told = [row["type"] for row in types]
        paid = int(bool(had))
        assert len(before) == paid
        assert told.count("payment.completed") + told.count("payment.refunded") == paid, told
        if had:
            late = before == ["cancelled"]
            assert had == [EFFECTS[purpose, late]], (before, had)
            refunded = await self.superuser.fetchval("SELECT refunded FROM payment WHERE id = $1", affair.payment)
            assert refunded == (affair.money.amount if late else 0)


@asynccontextmanager
async def stage_on(dsn: ServiceDatabase) -> AsyncIterator[Stage]:
    """The services of both processes, with the worker's role, which sees all tenants."""
    told = settings(dsn.worker, "http://127.0.0.1:1", "http://127.0.0.1:1").model_copy(update={"database_pool": 12})
    core = build_core(told, "schedules")
    async with core.database:
        await register_catalogue(core)
        superuser = await asyncpg.create_pool(dsn.superuser, min_size=1, max_size=4)
        stage = Stage(core, *_parts(core), superuser)
        _wire(stage)
        yield stage
        await superuser.close()


def _parts(core: Core) -> tuple[CallbackIntake, CallbackWorker, Janitor]:
    def quiet() -> None: ...

    return (
        CallbackIntake(core.database, core.envelopes, [], core.clock, quiet),
        CallbackWorker(core.database, core.settlement, core.envelopes, core.clock, quiet),
        Janitor(core.database, core.payments, core.settlement, core.providers, core.clock, first=5, wake=quiet),
    )


def _wire(stage: Stage) -> None:
    """The provider of these plays for the real one, and what is bought can die on the way: when it has all been done,
    and nothing of it is committed.
    """
    core = stage.core
    core.providers._by_name["external"] = stage
    fulfilments = core.settlement._fulfilments
    assert isinstance(fulfilments, dict)
    late = core.settlement._credit

    class Plan(PlanFulfilment):
        async def fulfil(self, connection: Any, payment: Any) -> int:
            fulfilled = await super().fulfil(connection, payment)
            stage.strike(payment.team)
            return fulfilled

    class Pack(PackFulfilment):
        async def fulfil(self, connection: Any, payment: Any) -> int:
            fulfilled = await super().fulfil(connection, payment)
            stage.strike(payment.team)
            return fulfilled

    class Late:
        async def as_credit(self, connection: Any, payment: Any, money: Money) -> int | None:
            given = await late.as_credit(connection, payment, money)
            stage.strike(payment.team)
            return given

    fulfilments["plan"] = Plan(core.subscriptions)
    fulfilments["credits"] = Pack(core.clock)
    core.settlement._credit = Late()
