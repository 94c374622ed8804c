"""`billing.v1`: payments, subscriptions, credits and invoices. Amounts are integers in minor units of an ISO 4217
currency.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.events.base import Event

PaymentMethod = Literal["mobile_money", "credit_card"]
PaymentPurpose = Literal["plan", "credits", "invoice"]


class PaymentEvent(Event):
    topic: ClassVar[str] = "billing.v1"

    payment_id: UUID
    amount: int
    currency: str
    method: PaymentMethod
    plan: str | None
    at: datetime
    purpose: PaymentPurpose = "plan"
    subject: str | None = None  # the plan's code, the pack's, the invoice's id


class PaymentCompleted(PaymentEvent):
    type: ClassVar[str] = "payment.completed"


class PaymentFailed(PaymentEvent):
    type: ClassVar[str] = "payment.failed"


class PaymentCancelled(PaymentEvent):
    type: ClassVar[str] = "payment.cancelled"


class PaymentRefunded(PaymentEvent):
    """`amount` is what goes back this time, and `to` is where: by the provider, as the team's credit, or `due`, where
    credit cannot be given and somebody has to see to it.
    """

    type: ClassVar[str] = "payment.refunded"

    refund_id: UUID
    to: Literal["provider", "credit", "due"]
    reason: str


class Lower(BaseModel):
    """What the plan allows less of than the one before; None where it is not less. In bytes, or how many."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    storage: int | None = None
    traffic: int | None = None
    images: int | None = None
    members: int | None = None
    projects: int | None = None


class SubscriptionChanged(Event):
    """`unpaid`: nobody chose it, an invoice was not paid in time. `trial`: the plan is tried, until `trial_ends_at`."""

    type: ClassVar[str] = "subscription.changed"
    topic: ClassVar[str] = "billing.v1"

    plan: str
    previous_plan: str | None
    plan_version: int
    at: datetime
    # Bodies from before they were told of have none of them.
    lower: Lower = Lower()
    unpaid: bool = False
    trial: bool = False
    trial_ends_at: datetime | None = None


class CreditsChanged(Event):
    """How many credits can be spent now, and how many were in `month`: `YYYY-MM`, in the tenant's time zone."""

    type: ClassVar[str] = "credits.changed"
    topic: ClassVar[str] = "billing.v1"

    balance: Annotated[int, Field(ge=0)]
    spent_month: Annotated[int, Field(ge=0)]
    month: Annotated[str, Field(pattern=r"^[1-9][0-9]{3}-(0[1-9]|1[0-2])$")]
    at: datetime


class TrafficBought(Event):
    """`credits` were spent on `bytes` above the plan's traffic of one `month`: `YYYY-MM`, in the tenant's time zone."""

    type: ClassVar[str] = "traffic.bought"
    topic: ClassVar[str] = "billing.v1"

    transaction_id: UUID
    bytes: Annotated[int, Field(gt=0)]
    credits: Annotated[int, Field(gt=0)]
    month: Annotated[str, Field(pattern=r"^[1-9][0-9]{3}-(0[1-9]|1[0-2])$")]
    at: datetime


class InvoiceIssued(Event):
    """`gross` is what is to be paid, or what a credit note gives back. One that was paid before is never due."""

    type: ClassVar[str] = "invoice.issued"
    topic: ClassVar[str] = "billing.v1"

    invoice_id: UUID
    number: str
    kind: Literal["invoice", "credit_note"]
    gross: int
    currency: str
    due_at: datetime | None
    at: datetime


class InvoiceDue(Event):
    """A period is not paid yet: `reminder` 1 comes with the invoice. At `ends_at` the team is on the default plan."""

    type: ClassVar[str] = "invoice.due"
    topic: ClassVar[str] = "billing.v1"

    invoice_id: UUID
    number: str
    gross: int
    currency: str
    reminder: Annotated[int, Field(ge=1)]
    ends_at: datetime
    at: datetime
