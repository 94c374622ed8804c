"""States of a payment, and when a provider's word is believed. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.money import Money

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]

OPEN: tuple[Status, ...] = ("pending", "processing")
WINDOW = timedelta(seconds=300)  # how far a callback's clock may be from ours, both ways

# Forward only. Money that came after all is money: completed follows even what was given up.
_FOLLOWS: dict[Status, frozenset[Status]] = {
    "pending": frozenset({"processing", "completed", "failed", "cancelled"}),
    "processing": frozenset({"completed", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset({"completed"}),
    "cancelled": frozenset({"completed"}),
}


def may_become(before: Status, after: Status) -> bool:
    return after in _FOLLOWS[before]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a provider says of a payment."""

    payment_id: str
    external_id: str
    status: Status
    money: Money
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What we asked for. The external id is None until the provider has told it."""

    payment_id: str
    external_id: str | None
    status: Status
    money: Money


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rejected`: it contradicts what was asked. `ignored`: true perhaps, but late."""

    verdict: Literal["accepted", "ignored", "rejected"]
    reason: str | None = None


def judge(asked: Asked, claim: Claim) -> Verdict:
    if claim.payment_id != asked.payment_id or (asked.external_id not in {None, claim.external_id}):
        return Verdict("rejected", "payment ids do not belong together")
    if claim.money.currency != asked.money.currency:
        return Verdict("rejected", f"currency {claim.money.currency} instead of {asked.money.currency}")
    if claim.money.amount != asked.money.amount:
        return Verdict("rejected", f"amount {claim.money.text} instead of {asked.money.text}")
    if claim.status == asked.status:
        return Verdict("ignored", f"the payment is {asked.status} already")
    if not may_become(asked.status, claim.status):
        return Verdict("ignored", f"the payment is {asked.status} and does not go back to {claim.status}")
    return Verdict("accepted")


def signature_matches(secrets: Sequence[str], event_id: str, timestamp: str, body: bytes, given: str) -> bool:
    """Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, any of several signatures under any of several keys."""
    content = f"{event_id}.{timestamp}.".encode() + body
    offered = [part.removeprefix("v1,") for part in given.split(" ") if part.startswith("v1,")]
    found = False
    for secret in secrets:
        expected = base64.b64encode(hmac.digest(_key(secret), content, hashlib.sha256)).decode()
        for signature in offered:
            found |= hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
    return found


def is_timely(timestamp: str, now: datetime) -> bool:
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    return abs(now.timestamp() - int(timestamp)) <= WINDOW.total_seconds()


def next_check(first: float, checks: int) -> timedelta:
    """When to ask the provider again: doubling from `first` seconds, at most an hour."""
    return timedelta(seconds=min(first * 2 ** min(checks, 20), 3600.0))


def return_address(site: str, wanted: str) -> str:
    """Where the payer comes back to: a path of this site or an address below it. Raises ValueError for another's."""
    site = site.rstrip("/")
    if wanted.startswith("/"):
        return site + wanted
    if wanted == site or wanted.startswith((f"{site}/", f"{site}?")):
        return wanted
    raise ValueError("not an address of this site")


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
