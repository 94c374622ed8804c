"""What a payment is for, and what happens when it is paid: one way for each purpose."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

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
    async def fulfil(self, connection: Any, payment: Payment) -> bool:
        """Inside the settlement's transaction, once for a payment: False where it is credit instead. What it raises
        undoes the settlement, which is then tried again.
        """
        ...

    def title(self, payment: Payment) -> str:
        """For the payer, on the provider's page."""
        ...


class Bills(Protocol):
    async def bill(self, connection: Any, payment: Payment, at: datetime) -> None:
        """Inside the settlement's transaction: the invoice of what was just paid."""
        ...


class Credit(Protocol):
    """Where money goes that came for nothing any more."""

    async def as_credit(self, connection: Any, payment: Payment) -> bool:
        """Inside the settlement's transaction, once for a payment: the whole of it. False: nothing was given, and
        somebody has to see to it.
        """
        ...
