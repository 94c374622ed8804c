"""Callbacks as they arrive: stored first, checked, acknowledged. What they change comes afterwards."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

import orjson
from prometheus_client import Counter

from services.billing.payments import inbox
from services.billing.payments.inbox import Callback
from services.billing.payments.rules import is_timely, signature_matches
from shared.clock import Clock
from shared.db import Database
from shared.ids import new_id
from shared.telemetry import current_traceparent

log = logging.getLogger(__name__)

VERDICTS = Counter("stowage_billing_callbacks_total", "Callbacks by verdict", ["verdict"])

PROVIDER = "external"
MAX_BODY = 64 * 1024  # bytes
SHOWN = 100  # of one payment's callbacks
_EVENT_ID = 200  # characters


@dataclass(frozen=True, slots=True)
class Receipt:
    """What to answer: 202 new, 200 known, 401 forged, 400 stale or unreadable."""

    status: int
    code: str
    detail: str


class CallbackIntake:
    """`secrets` are all signing keys that are valid while keys rotate; there is at least one."""

    def __init__(self, database: Database, secrets: list[str], clock: Clock, wake: Callable[[], object]) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock
        self._wake = wake

    async def take(self, body: bytes, headers: Mapping[str, str]) -> Receipt:
        """Nothing is answered 2xx that is not stored."""
        event_id = headers.get("webhook-id", "")
        timestamp = headers.get("webhook-timestamp", "")
        now = self._clock.now()
        signed = signature_matches(self._secrets, event_id, timestamp, body, headers.get("webhook-signature", ""))
        if not signed or not 1 <= len(event_id) <= _EVENT_ID:
            await self._reject(event_id, body, now, "the signature does not match")
            return Receipt(401, "invalid_signature", "The signature does not match.")
        if not is_timely(timestamp, now):
            await self._reject(event_id, body, now, "outside the time window")
            return Receipt(400, "outside_time_window", "The callback is too old, or from the future.")
        deliveries = await self._store(event_id, body, now, "received", None, authentic=True)
        if deliveries > 1:
            VERDICTS.labels("duplicate").inc()
            return Receipt(200, "known", "This event is known.")
        self._wake()
        return Receipt(202, "accepted", "Stored.")

    async def list_for(self, tenant: UUID, payment: UUID) -> list[dict[str, Any]]:
        """Oldest first. Each delivery beyond the first was recognised and counted, and changed nothing.

        The caller has made sure that the payment is the tenant's.
        """
        async with self._database.transaction(tenant) as connection:
            rows = await inbox.list_for(connection, payment, SHOWN)
        return list(islice((entry for row in rows for entry in _entries(row)), SHOWN))

    async def _reject(self, event_id: str, body: bytes, now: datetime, reason: str) -> None:
        await self._store(event_id[:_EVENT_ID], body, now, "rejected", reason, authentic=False)
        VERDICTS.labels("rejected").inc()
        log.warning("a callback was rejected: %s", reason)

    async def _store(
        self, event_id: str, body: bytes, now: datetime, verdict: str, reason: str | None, *, authentic: bool
    ) -> int:
        callback = Callback(
            id=new_id(),
            provider=PROVIDER,
            event_id=event_id,
            authentic=authentic,
            body=body,
            received_at=now,
            verdict=verdict,
            reason=reason,
            payment_id=_payment_of(body),
            traceparent=current_traceparent(),
        )
        async with self._database.transaction() as connection:
            return await inbox.insert(connection, callback)


def _entries(row: Any) -> list[dict[str, Any]]:
    first = {key: row[key] for key in ("event_id", "received_at", "verdict", "reason")}
    again = {**first, "verdict": "duplicate", "reason": "delivered before"}
    return [first, *[again] * min(row["deliveries"] - 1, SHOWN)]


def _payment_of(body: bytes) -> UUID | None:
    """For the record only: who is meant, if the body says it."""
    try:
        return UUID(orjson.loads(body)["data"]["payment_id"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
