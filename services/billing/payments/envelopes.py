"""What a callback is wrapped in, by provider: who signed it and when, which event it is, and what it claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import orjson

from services.billing.payments import external, stripe_sessions
from services.billing.payments.provider import ProviderSilent
from services.billing.payments.rules import Claim, signature_matches, stripe_signature_matches


@dataclass(frozen=True, slots=True)
class Opening:
    """`event_id` is as it came, and may be anything where it is not `signed`."""

    event_id: str
    timestamp: str
    signed: bool


class Envelope(Protocol):
    def open(self, body: bytes, headers: Mapping[str, str]) -> Opening: ...

    def payment_of(self, body: bytes) -> UUID | None:
        """Who is meant, if the body says it: for the record and for the order, before anything is believed."""
        ...

    def claim_of(self, body: bytes) -> Claim | None:
        """None for an event that says nothing of a payment. Raises ProviderSilent for what cannot be read."""
        ...


class StandardWebhooks:
    """The external backend's: HMAC-SHA256 in `webhook-signature`, `secrets` newest first while they rotate."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets

    def open(self, body: bytes, headers: Mapping[str, str]) -> Opening:
        event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        signature = headers.get("webhook-signature", "")
        return Opening(event_id, timestamp, signature_matches(self._secrets, event_id, timestamp, body, signature))

    def payment_of(self, body: bytes) -> UUID | None:
        return _uuid(_dig(body, "data", "payment_id"))

    def claim_of(self, body: bytes) -> Claim | None:
        try:
            message = orjson.loads(body)
            kind, data = message["type"], message["data"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise ProviderSilent("not a callback of the contract") from error
        claim = external.claim_of(data)
        if kind != f"payment.{claim.status}":
            raise ProviderSilent(f"type {kind!r:.64} with status {claim.status!r}")
        return claim


class StripeWebhooks:
    """Stripe's: the event's id is in the body, `Stripe-Signature` over it."""

    # What a session has become by each of them. Others of its life say nothing new.
    _KINDS: Mapping[str, str] = {
        "checkout.session.completed": "",
        "checkout.session.async_payment_succeeded": "completed",
        "checkout.session.async_payment_failed": "failed",
        "checkout.session.expired": "cancelled",
    }

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets

    def open(self, body: bytes, headers: Mapping[str, str]) -> Opening:
        signed, timestamp = stripe_signature_matches(self._secrets, headers.get("stripe-signature", ""), body)
        event_id = _dig(body, "id")
        return Opening(event_id if isinstance(event_id, str) else "", timestamp, signed)

    def payment_of(self, body: bytes) -> UUID | None:
        return _uuid(_dig(body, "data", "object", "client_reference_id"))

    def claim_of(self, body: bytes) -> Claim | None:
        kind, session = _dig(body, "type"), _dig(body, "data", "object")
        if not isinstance(kind, str):
            raise ProviderSilent("not an event")
        if kind not in self._KINDS:
            return None
        if not isinstance(session, dict):
            raise ProviderSilent("an event without a session")
        if kind == "checkout.session.async_payment_failed":
            # The session itself says no more than that it is not paid.
            session = {**session, "payment_intent": {"id": session.get("payment_intent"), "status": "canceled"}}
        claim = stripe_sessions.claim_of(session)
        if self._KINDS[kind] not in {"", claim.status}:
            raise ProviderSilent(f"type {kind!r:.64} with status {claim.status!r}")
        return claim


def _dig(body: bytes, *path: str) -> Any:
    try:
        value = orjson.loads(body)
        for name in path:
            value = value[name]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return None
    return value


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (TypeError, ValueError, AttributeError):
        return None
