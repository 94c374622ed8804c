"""Callbacks: stored first, checked, acknowledged; worked off afterwards in the order they came."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from prometheus_client import Counter

from services.billing.payments.provider import ProviderSilent, claim_of
from services.billing.payments.rules import Claim, is_timely, signature_matches
from services.billing.payments.service import PaymentService
from shared.clock import Clock
from shared.db import Database
from shared.ids import new_id

log = logging.getLogger(__name__)

VERDICTS = Counter("stowage_billing_callbacks_total", "Callbacks by verdict", ["verdict"])

PROVIDER = "external"
MAX_BODY = 64 * 1024

# Only authentic callbacks occupy an event id: a forged one must not stand in a real one's place.
_STORE = """
    INSERT INTO payment_callback (id, provider, event_id, authentic, body, received_at, verdict, reason, payment_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (provider, event_id) WHERE authentic DO UPDATE SET deliveries = payment_callback.deliveries + 1
    RETURNING deliveries
"""
_WAITING = """
    SELECT id, body, payment_id FROM payment_callback WHERE verdict = 'received' ORDER BY received_at, id LIMIT 200
"""
_LOCK = "SELECT 1 FROM payment_callback WHERE id = $1 AND verdict = 'received' FOR UPDATE SKIP LOCKED"
_DECIDE = "UPDATE payment_callback SET verdict = $2, reason = $3, processed_at = $4 WHERE id = $1"
_LIST = """
    SELECT event_id, received_at, verdict, reason, deliveries FROM payment_callback
    WHERE payment_id = $1 ORDER BY received_at, id LIMIT 100
"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What to answer: 202 new, 200 known, 401 forged, 400 stale or unreadable."""

    status: int
    code: str
    detail: str


class CallbackIntake:
    def __init__(self, database: Database, secrets: list[str], clock: Clock, wake: Callable[[], object]) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock
        self._wake = wake

    async def take(self, body: bytes, headers: Mapping[str, str]) -> Receipt:
        """Nothing is answered 2xx that is not stored."""
        event_id = headers.get("webhook-id", "")[:200]
        timestamp = headers.get("webhook-timestamp", "")
        now = self._clock.now()
        signed = signature_matches(self._secrets, event_id, timestamp, body, headers.get("webhook-signature", ""))
        if not event_id or not signed:
            await self._store(event_id, body, now, "rejected", "the signature does not match", authentic=False)
            return Receipt(401, "invalid_signature", "The signature does not match.")
        if not is_timely(timestamp, now):
            await self._store(event_id, body, now, "rejected", "outside the time window", authentic=False)
            return Receipt(400, "outside_time_window", "The callback is too old, or from the future.")
        deliveries = await self._store(event_id, body, now, "received", None, authentic=True)
        if deliveries > 1:
            VERDICTS.labels("duplicate").inc()
            return Receipt(200, "known", "This event is known.")
        self._wake()
        return Receipt(202, "accepted", "Stored.")

    async def list_for(self, tenant: UUID, payment: UUID) -> list[dict[str, Any]]:
        async with self._database.transaction(tenant) as connection:
            rows = [dict(row) for row in await connection.fetch(_LIST, payment)]
        # Each delivery beyond the first was recognised and counted, and changed nothing.
        return [
            entry
            for row in rows
            for entry in (
                {key: row[key] for key in ("event_id", "received_at", "verdict", "reason")},
                *[
                    {
                        **{key: row[key] for key in ("event_id", "received_at")},
                        "verdict": "duplicate",
                        "reason": "known",
                    }
                    for _ in range(row["deliveries"] - 1)
                ],
            )
        ]

    async def _store(
        self, event_id: str, body: bytes, now: datetime, verdict: str, reason: str | None, *, authentic: bool
    ) -> int:
        if verdict == "rejected":
            VERDICTS.labels("rejected").inc()
            log.warning("a callback was rejected: %s", reason)
        async with self._database.transaction() as connection:
            deliveries: int = await connection.fetchval(
                _STORE, new_id(), PROVIDER, event_id, authentic, body, now, verdict, reason, _payment_of(body)
            )
        return deliveries


class CallbackWorker:
    """Works off the inbox, oldest first; safe to run in several processes."""

    def __init__(self, database: Database, payments: PaymentService, clock: Clock, wake: Callable[[], object]) -> None:
        self._database = database
        self._payments = payments
        self._clock = clock
        self._wake = wake

    async def work(self) -> int:
        """Returns how many were decided."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_WAITING)
        for row in rows:
            await self._decide(row)
        if rows:
            self._wake()
        return len(rows)

    async def _decide(self, row: Any) -> None:
        """Verdict and effect in one commit."""
        async with self._database.transaction() as connection:
            if not await connection.fetchval(_LOCK, row["id"]):
                return
            verdict, reason = await self._judge(connection, row["body"])
            await connection.execute(_DECIDE, row["id"], verdict, reason, self._clock.now())
        VERDICTS.labels(verdict).inc()
        if verdict == "rejected":
            log.error("a signed callback contradicts what was asked: %s", reason)

    async def _judge(self, connection: Any, body: bytes) -> tuple[str, str | None]:
        try:
            claim = _claim_of(body)
        except ProviderSilent as error:
            return "rejected", str(error)
        verdict = await self._payments.settle(connection, claim, "callback")
        return verdict.verdict, verdict.reason


def _claim_of(body: bytes) -> Claim:
    try:
        message = orjson.loads(body)
        kind, data = message["type"], message["data"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ProviderSilent("not a callback of the contract") from error
    claim = claim_of(data)
    if kind != f"payment.{claim.status}":
        raise ProviderSilent(f"type {kind!r} with status {claim.status!r}")
    return claim


def _payment_of(body: bytes) -> UUID | None:
    """For the record only: who is meant, if the body says it."""
    try:
        return UUID(orjson.loads(body)["data"]["payment_id"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
