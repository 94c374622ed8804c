"""States of a payment, and when a provider's word is believed. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal

from shared.money import Money

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
Effect = Literal["fulfil", "credit"]

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


def effect_of(before: Status, *, replaced: bool) -> Effect:
    """What money that came is for. After the payment was cancelled, or when it had failed and another one took its
    place, nobody waits for its purpose any more: then it is the team's credit.
    """
    return "credit" if before == "cancelled" or (before == "failed" and replaced) else "fulfil"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a provider says of a payment. `team` is None where it does not say whose it is."""

    payment_id: str
    external_id: str
    status: Status
    money: Money
    transaction_id: str | None = None
    team: str | None = None
    provider: str = "external"


@dataclass(frozen=True, slots=True)
class Asked:
    """What we asked for, and whom. The external id is None until the provider has told it."""

    payment_id: str
    external_id: str | None
    status: Status
    money: Money
    team: str | None = None
    provider: str = "external"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rejected`: it contradicts what was asked. `ignored`: true perhaps, but late."""

    verdict: Literal["accepted", "ignored", "rejected"]
    reason: str | None = None


def judge(asked: Asked, claim: Claim) -> Verdict:
    contradiction = _contradiction(asked, claim)
    if contradiction is not None:
        return Verdict("rejected", contradiction)
    if claim.status == asked.status:
        return Verdict("ignored", f"the payment is {asked.status} already")
    if not may_become(asked.status, claim.status):
        return Verdict("ignored", f"the payment is {asked.status} and does not go back to {claim.status}")
    return Verdict("accepted")


def _contradiction(asked: Asked, claim: Claim) -> str | None:
    if claim.payment_id != asked.payment_id or (asked.external_id not in {None, claim.external_id}):
        return "payment ids do not belong together"
    if claim.provider != asked.provider:
        return f"{claim.provider} was not asked"
    if claim.team is not None and claim.team != asked.team:
        return "another team's payment"
    if claim.money.currency != asked.money.currency:
        return f"currency {claim.money.currency} instead of {asked.money.currency}"
    if claim.money.amount != asked.money.amount:
        return f"amount {claim.money.text} instead of {asked.money.text}"
    return None


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


def stripe_signature_matches(secrets: Sequence[str], header: str, body: bytes) -> tuple[bool, str]:
    """Stripe's: `t=seconds,v1=hex,…` over `t.body`, under any of several secrets. Returns the time it claims, too."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    timestamp = next((value for name, _, value in parts if name == "t"), "")
    content = timestamp.encode("utf-8", "replace") + b"." + body
    found = False
    for secret in secrets:
        expected = hmac.digest(secret.encode(), content, hashlib.sha256).hex()
        for name, _, signature in parts:
            if name == "v1":
                found |= hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
    return found, timestamp


def comes_from(sources: Sequence[IPv4Network | IPv6Network], address: str) -> bool:
    """Whether an address is one of those listed; an empty list is all there are."""
    if not sources:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in source for source in sources)


def next_attempt(attempts: int) -> timedelta:
    """When a callback that failed so often is tried again: 1 second later, then 2, 4, at most 5 minutes."""
    return timedelta(seconds=min(2.0 ** (attempts - 1), 300.0))


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
