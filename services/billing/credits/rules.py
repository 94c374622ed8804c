"""How credits are burnt. Pure: no clock, no session, no settings."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

Source = Literal["purchase", "ad_reward", "system_bonus", "refund"]
Account = Literal["available", "reserved", "spent", "expired", "purchase", "ad_reward", "system_bonus", "refund"]

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Grant:
    """Credits that came at once; `remaining` can be spent. Lower priorities burn first."""

    id: UUID
    source: Source
    amount: int
    remaining: int
    priority: int
    expires_at: datetime | None
    created_at: datetime

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Part:
    """What one grant gave."""

    grant: UUID
    amount: int


def burn_order(grant: Grant) -> tuple[int, datetime, datetime, UUID]:
    """Priority, then what expires first, then age."""
    return grant.priority, grant.expires_at or NEVER, grant.created_at, grant.id


def pick(grants: Iterable[Grant], amount: int) -> list[Part] | None:
    """Which grants, given in burn order, pay `amount`; None when they do not hold it."""
    parts, left = list[Part](), amount
    for grant in grants:
        if left == 0:
            break
        if grant.remaining:
            parts.append(Part(grant.id, min(left, grant.remaining)))
            left -= parts[-1].amount
    return parts if left == 0 else None


def divide(holds: Iterable[Part], amount: int) -> tuple[list[Part], list[Part]]:
    """Of what is held: what pays `amount`, in the order it was taken, and the rest."""
    paid, rest = list[Part](), list[Part]()
    for hold in holds:
        taken = min(amount, hold.amount)
        amount -= taken
        if taken:
            paid.append(Part(hold.grant, taken))
        if taken < hold.amount:
            rest.append(Part(hold.grant, hold.amount - taken))
    return paid, rest
