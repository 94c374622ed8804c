"""Callbacks worked off: from the inbox to verdict and effect."""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson
from prometheus_client import Counter

from services.billing.payments import inbox
from services.billing.payments.callbacks import VERDICTS
from services.billing.payments.provider import ProviderSilent, claim_of
from services.billing.payments.rules import Claim, Verdict
from services.billing.payments.settlement import Settlement
from shared.clock import Clock
from shared.db import Database
from shared.telemetry import span

log = logging.getLogger(__name__)

FAILURES = Counter("stowage_billing_callback_failures_total", "Callbacks that could not be worked off, and wait")


class CallbackWorker:
    """Works off the inbox, in the order of arrival per payment. Safe to run in several processes."""

    def __init__(self, database: Database, settlement: Settlement, clock: Clock, wake: Callable[[], object]) -> None:
        self._database = database
        self._settlement = settlement
        self._clock = clock
        self._wake = wake

    async def work(self) -> int:
        """Returns how many were decided."""
        async with self._database.transaction() as connection:
            waiting = await inbox.list_waiting(connection)
        decided = sum([await self._work_off(payment) for payment in waiting])
        if decided:
            self._wake()
        return decided

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
        """Verdict and effect in one commit. False when nothing waits."""
        async with self._database.transaction() as connection:
            row = await inbox.lock_next(connection, payment)
            if row is None:
                return False
            with span("callback", parent=row["traceparent"]):
                found = await self._judge(connection, row["body"])
            await inbox.decide(connection, row["id"], found.verdict, found.reason, self._clock.now())
        VERDICTS.labels(found.verdict).inc()
        if found.verdict == "rejected":
            log.error("a signed callback contradicts what was asked: %s", found.reason)
        return True

    async def _judge(self, connection: Any, body: bytes) -> Verdict:
        try:
            claim = _claim_of(body)
        except ProviderSilent as error:
            return Verdict("rejected", str(error))
        return await self._settlement.settle(connection, claim, "callback")


def _claim_of(body: bytes) -> Claim:
    """Raises ProviderSilent for what is no callback of the contract."""
    try:
        message = orjson.loads(body)
        kind, data = message["type"], message["data"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ProviderSilent("not a callback of the contract") from error
    claim = claim_of(data)
    if kind != f"payment.{claim.status}":
        raise ProviderSilent(f"type {kind!r:.64} with status {claim.status!r}")
    return claim
