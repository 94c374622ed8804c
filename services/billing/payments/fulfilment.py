"""What a payment is for, and what happens when it is paid: one way for each purpose."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

from services.billing.catalogue.plan import Interval
from services.billing.payments.repository import Payment
from services.billing.plans import repository as plans
from services.billing.subscriptions.service import SubscriptionService
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
    async def fulfil(self, connection: Any, payment: Payment) -> None:
        """Inside the settlement's transaction, once for a payment. What it raises undoes the settlement, which is then
        tried again.
        """
        ...

    def title(self, payment: Payment) -> str:
        """For the payer, on the provider's page."""
        ...


class PlanFulfilment:
    def __init__(self, subscriptions: SubscriptionService) -> None:
        self._subscriptions = subscriptions

    async def fulfil(self, connection: Any, payment: Payment) -> None:
        if payment.plan is None or payment.plan_version is None:
            raise ValueError("a payment for a plan names one")
        plan = await plans.get(connection, payment.plan, payment.plan_version)
        # Without an interval it is from when a plan had one price.
        interval = cast("Interval | None", payment.metadata.get("interval"))
        price = plan.price_in(payment.currency, interval)
        await self._subscriptions.change(connection, payment.tenant_id, plan, price)

    def title(self, payment: Payment) -> str:
        return f"Stowage {str(payment.plan).title()}"


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
