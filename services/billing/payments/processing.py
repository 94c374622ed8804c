"""Callbacks worked off: from the inbox to verdict and effect."""

import logging
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import asyncpg
from prometheus_client import Counter, Gauge

from services.billing.payments import inbox
from services.billing.payments.callbacks import REJECTED, VERDICTS
from services.billing.payments.envelopes import Envelope
from services.billing.payments.provider import ProviderSilent
from services.billing.payments.rules import Verdict, next_attempt
from services.billing.payments.settlement import Settlement
from shared import faults
from shared.clock import Clock
from shared.db import Database, savepoint
from shared.telemetry import span

log = logging.getLogger(__name__)

FAILURES = Counter("stowage_billing_callback_failures_total", "Callbacks that could not be worked off, and wait")
DEAD = Gauge("stowage_billing_callbacks_dead_waiting", "Callbacks that were given up and wait to be replayed")

ATTEMPTS = 10  # over about eight minutes; then somebody has to look
_ERROR = 1000  # characters kept
# They say nothing of the callback and pass by themselves.
_TRANSIENT = (
    *(OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError),
    *(asyncpg.OperatorInterventionError, asyncpg.TransactionRollbackError, asyncpg.InsufficientResourcesError),
)


class CallbackWorker:
    """Works off the inbox, in the order of arrival per payment. Safe to run in several processes."""

    def __init__(
        self,
        database: Database,
        settlement: Settlement,
        envelopes: Mapping[str, Envelope],
        clock: Clock,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._settlement = settlement
        self._envelopes = envelopes
        self._clock = clock
        self._wake = wake

    async def work(self) -> int:
        """Returns how many were decided."""
        async with self._database.transaction() as connection:
            waiting = await inbox.list_waiting(connection, self._clock.now())
        decided = sum([await self._work_off(payment) for payment in waiting])
        if decided:
            self._wake()
        return decided

    async def measure(self) -> None:
        async with self._database.transaction() as connection:
            DEAD.set(await inbox.count_dead(connection))

    async def _work_off(self, payment: UUID | None) -> int:
        decided = 0
        try:
            while await self._decide(payment):
                decided += 1
        except Exception:
            # It stays in the inbox and is tried again; meanwhile the other payments go on.
            FAILURES.inc()
            log.exception("a callback of payment %s could not be worked off", payment)
        return decided

    async def _decide(self, payment: UUID | None) -> bool:
        """Verdict and effect in one commit. False when nothing waits, or what waits has its time."""
        async with self._database.transaction() as connection:
            row = await inbox.lock_next(connection, payment, self._clock.now())
            if row is None:
                return False
            try:
                async with savepoint(connection):
                    with span("callback", parent=row["traceparent"]):
                        found = await self._judge(connection, row["provider"], row["body"])
                        faults.reach("billing.settled")
            except _TRANSIENT:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it goes with the callback
                return await self._put_off(connection, row, error)
            await inbox.decide(connection, row["id"], found.verdict, found.reason, self._clock.now())
        VERDICTS.labels(found.verdict).inc()
        if found.verdict == "rejected":
            REJECTED.labels(row["provider"], "contradiction").inc()
            log.error("a signed callback contradicts what was asked: %s", found.reason)
        return True

    async def _judge(self, connection: Any, provider: str, body: bytes) -> Verdict:
        envelope = self._envelopes.get(provider)
        if envelope is None:
            raise LookupError(f"{provider} is not set up")
        try:
            claim = envelope.claim_of(body)
        except ProviderSilent as error:
            return Verdict("rejected", str(error))
        if claim is None:
            return Verdict("ignored", "an event that says nothing of a payment")
        return await self._settlement.settle(connection, claim, "callback")

    async def _put_off(self, connection: Any, row: Any, error: Exception) -> bool:
        """True when it is given up: the next one of the payment has its turn."""
        FAILURES.inc()
        now, attempts = self._clock.now(), row["attempts"] + 1
        until = None if attempts >= ATTEMPTS else now + next_attempt(attempts)
        said = f"{type(error).__name__}: {error}".replace("\0", "")[:_ERROR]
        await inbox.put_off(connection, row["id"], said, now, until)
        log.error("callback %s failed %d times%s", row["id"], attempts, " and is given up" if until is None else "")
        if until is None:
            VERDICTS.labels("dead").inc()
        return until is None
