"""`billing.v1`: payments, subscriptions and credits. Amounts are integers in minor units of an ISO 4217 currency."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.events.base import Event

PaymentMethod = Literal["mobile_money", "credit_card"]


class PaymentEvent(Event):
    topic: ClassVar[str] = "billing.v1"

    payment_id: UUID
    amount: int
    currency: str
    method: PaymentMethod
    plan: str | None
    at: datetime


class PaymentCompleted(PaymentEvent):
    type: ClassVar[str] = "payment.completed"


class PaymentFailed(PaymentEvent):
    type: ClassVar[str] = "payment.failed"


class PaymentCancelled(PaymentEvent):
    type: ClassVar[str] = "payment.cancelled"


class SubscriptionChanged(Event):
    type: ClassVar[str] = "subscription.changed"
    topic: ClassVar[str] = "billing.v1"

    plan: str
    previous_plan: str | None
    plan_version: int
    at: datetime


class CreditsChanged(Event):
    """How many credits can be spent now, and how many were in `month`: `YYYY-MM`, in the tenant's time zone."""

    type: ClassVar[str] = "credits.changed"
    topic: ClassVar[str] = "billing.v1"

    balance: Annotated[int, Field(ge=0)]
    spent_month: Annotated[int, Field(ge=0)]
    month: Annotated[str, Field(pattern=r"^[1-9][0-9]{3}-(0[1-9]|1[0-2])$")]
    at: datetime
