"""What a payment is for, and what happens when it is paid: one way for each purpose."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from services.billing.payments.repository import Payment
from shared.events import PaymentPurpose
from shared.money import Money


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is to be paid. One payment at a time is open for a `subject`; of plans, for a team."""

    purpose: PaymentPurpose
    subject: str
    money: Money
    metadata: dict[str, str]
    plan: str | None = None
    plan_version: int | None = None


class Fulfilment(Protocol):
    async def fulfil(self, connection: Any, payment: Payment) -> int:
        """Inside the settlement's transaction, once for a payment. How many minor units of it were wanted: the rest
        becomes credit. 0: what it was for is no more, and nothing was done. What it raises undoes the settlement, which
        is then tried again.
        """
        ...

    def title(self, payment: Payment) -> str:
        """For the payer, on the provider's page."""
        ...


class Bills(Protocol):
    async def bill(self, connection: Any, payment: Payment, at: datetime) -> None:
        """Inside the settlement's transaction: the invoice of what was just paid."""
        ...

    async def bill_credits(self, connection: Any, payment: Payment, money: Money, number: int, at: datetime) -> None:
        """Inside the settlement's transaction: the invoice of the credits that so much of the payment became."""
        ...

    async def give_back(self, connection: Any, payment: Payment, kept: int, reason: str) -> None:
        """Inside a refund's transaction: a credit note, so that no more than `kept` minor units stay charged."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """Credits of a pack that was refunded: what could be taken back, and what had been spent (or had expired)."""

    taken: int
    spent: int


class Packs(Protocol):
    async def take_back(self, connection: Any, payment: Payment, refund: UUID, before: int, after: int) -> Taken:
        """Inside a refund's transaction: for `after` minor units given back in all, `before` of them earlier."""
        ...


class Credit(Protocol):
    """Where money goes that came for nothing any more."""

    async def as_credit(self, connection: Any, payment: Payment, money: Money) -> int | None:
        """Inside the settlement's transaction, once for a payment: the credits given for so much of it. None: nothing
        was given, and somebody has to see to it.
        """
        ...
