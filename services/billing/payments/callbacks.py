"""Callbacks as they arrive: stored first, checked, acknowledged. What they change comes afterwards."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from prometheus_client import Counter

from services.billing.errors import CallbackNotStored, ProviderNotFound
from services.billing.payments import inbox
from services.billing.payments.envelopes import Envelope
from services.billing.payments.inbox import Callback
from services.billing.payments.rules import comes_from, is_timely
from shared import faults
from shared.clock import Clock
from shared.db import Database
from shared.ids import new_id
from shared.security.cards import redacted, without_card_numbers
from shared.telemetry import current_traceparent

log = logging.getLogger(__name__)

VERDICTS = Counter("stowage_billing_callbacks_total", "Callbacks by verdict", ["verdict"])
REJECTED = Counter("stowage_billing_callbacks_rejected_total", "Rejected callbacks by reason", ["provider", "reason"])

MAX_BODY = 64 * 1024  # bytes
MAX_FORGERY = 4 * 1024  # bytes kept of what is rejected
SHOWN = 100  # of one payment's callbacks
STORE_SECONDS = 5.0  # for the database to take one; then whoever sent it is told to send it again
_EVENT_ID = 200  # characters


# What asyncpg raises when the database is away, or goes away in the middle.
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What to answer: 202 new, 200 known, 401 forged, 403 from elsewhere, 400 stale or unreadable."""

    status: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Arrival:
    provider: str
    event_id: str
    body: bytes
    payment_id: UUID | None
    at: datetime


class CallbackIntake:
    """`envelopes` are those of the providers that are set up. `sources`: whence callbacks may come; empty: anywhere."""

    def __init__(
        self,
        database: Database,
        envelopes: Mapping[str, Envelope],
        sources: Sequence[IPv4Network | IPv6Network],
        clock: Clock,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._envelopes = envelopes
        self._sources = sources
        self._clock = clock
        self._wake = wake

    async def take(self, provider: str, body: bytes, headers: Mapping[str, str]) -> Receipt:
        """Nothing is answered 2xx that is not stored. Raises ProviderNotFound, CallbackNotStored."""
        envelope = self._envelopes.get(provider)
        if envelope is None:
            raise ProviderNotFound
        opening, now = envelope.open(body, headers), self._clock.now()
        arrival = _Arrival(provider, opening.event_id, body, envelope.payment_of(body), now)
        address = headers.get("stowage-client-address", "")
        if not comes_from(self._sources, address):
            await self._reject(arrival, "source", f"{address[:64]} is not among the allowed sources")
            return Receipt(403, "source_not_allowed", "Callbacks are not taken from this address.")
        if not opening.signed:
            await self._reject(arrival, "signature", "the signature does not match")
            return Receipt(401, "invalid_signature", "The signature does not match.")
        if not is_timely(opening.timestamp, now):
            await self._reject(arrival, "window", "outside the time window")
            return Receipt(400, "outside_time_window", "The callback is too old, or from the future.")
        if not 1 <= len(opening.event_id) <= _EVENT_ID or "\0" in opening.event_id:
            await self._reject(arrival, "unreadable", "an event without an id")
            return Receipt(401, "invalid_signature", "The signature does not match.")
        return await self._accept(arrival)

    async def list_for(self, tenant: UUID, payment: UUID) -> list[dict[str, Any]]:
        """Oldest first. Each delivery beyond the first was recognised and counted, and changed nothing.

        The caller has made sure that the payment is the tenant's.
        """
        async with self._database.transaction(tenant) as connection:
            rows = await inbox.list_for(connection, payment, SHOWN)
        return list(islice((entry for row in rows for entry in _entries(row)), SHOWN))

    async def _accept(self, arrival: _Arrival) -> Receipt:
        deliveries = await self._store(arrival, "received", None, authentic=True)
        faults.reach("billing.stored")
        if deliveries > 1:
            VERDICTS.labels("duplicate").inc()
            return Receipt(200, "known", "This event is known.")
        self._wake()
        return Receipt(202, "accepted", "Stored.")

    async def _reject(self, arrival: _Arrival, kind: str, reason: str) -> None:
        await self._store(arrival, "rejected", reason, authentic=False)
        VERDICTS.labels("rejected").inc()
        REJECTED.labels(arrival.provider, kind).inc()
        log.warning("a callback of %s was rejected: %s", arrival.provider, reason)

    async def _store(self, arrival: _Arrival, verdict: str, reason: str | None, *, authentic: bool) -> int:
        body = _without_cards(arrival.body)
        kept = body if authentic else body[:MAX_FORGERY]
        callback = Callback(
            id=new_id(),
            provider=arrival.provider,
            event_id=without_card_numbers(arrival.event_id[:_EVENT_ID].replace("\0", "")),
            authentic=authentic,
            body=kept,
            received_at=arrival.at,
            verdict=verdict,
            reason=reason,
            payment_id=arrival.payment_id,
            traceparent=current_traceparent(),
            redacted=body is not arrival.body,
        )
        try:
            # One statement commits by itself: a round trip instead of three.
            async with asyncio.timeout(STORE_SECONDS), self._database.acquire() as connection:
                return await inbox.insert(connection, callback)
        except _AWAY as error:
            log.error("a callback of %s was not stored: %s", arrival.provider, type(error).__name__)
            raise CallbackNotStored from error


def _entries(row: Any) -> list[dict[str, Any]]:
    first = {key: row[key] for key in ("event_id", "received_at", "verdict", "reason")}
    again = {**first, "verdict": "duplicate", "reason": "delivered before"}
    return [first, *[again] * min(row["deliveries"] - 1, SHOWN)]


def _without_cards(body: bytes) -> bytes:
    """As it came, unless a card number is in it: the signature has been checked, and is needed no more."""
    try:
        value = orjson.loads(body)
        clean = redacted(value)
        return body if clean == value else orjson.dumps(clean)
    except (orjson.JSONDecodeError, TypeError, ValueError, RecursionError):
        text = body.decode("latin-1")
        clean = without_card_numbers(text)
        return body if clean == text else clean.encode("latin-1")
