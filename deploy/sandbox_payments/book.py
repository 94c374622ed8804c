"""The provider's payments, kept over a restart where a folder is given."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

OPEN = frozenset({"pending", "processing"})


class Behaviour(BaseModel):
    """How callbacks go wrong. `deliveries` copies of each, `delay_ms` late or `never`, `order` forward or reverse,
    one more with a wrong signature (`forged`), one more well signed over another amount (`wrong_amount`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    deliveries: int = Field(default=1, ge=0, le=50)
    order: Literal["forward", "reverse"] = "forward"
    delay_ms: int = Field(default=0, ge=0, le=3_600_000)
    never: bool = False
    forged: bool = False
    wrong_amount: str | None = Field(default=None, max_length=32)


class Order(BaseModel):
    """What a customer's backend asks for. `amount` is decimal text."""

    model_config = ConfigDict(frozen=True, strict=True)

    payment_id: str = Field(min_length=1, max_length=100)
    team: str
    amount: str = Field(pattern=r"^\d{1,15}(\.\d{1,3})?$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    method: Literal["credit_card", "mobile_money"]
    description: str
    callback_url: str = Field(max_length=2048)
    return_url: str = Field(max_length=2048, pattern=r"^https?://")
    metadata: dict[str, str] = {}


class RefundOrder(BaseModel):
    """What a customer's backend wants given back; an addition to the contract. `amount` is decimal text."""

    model_config = ConfigDict(frozen=True, strict=True)

    refund_id: str = Field(min_length=1, max_length=100)
    amount: str = Field(pattern=r"^\d{1,15}(\.\d{1,3})?$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    reason: str = Field(max_length=500)


@dataclass(frozen=True, slots=True)
class Event:
    """The id stays the same over all deliveries of an event."""

    id: str
    body: str
    forged: bool = False


@dataclass(frozen=True, slots=True)
class Payment:
    external_payment_id: str
    order: Order
    status: str = "pending"
    transaction_id: str | None = None
    completed_at: str | None = None
    sent: list[Event] = field(default_factory=list)  # for redelivery
    refunds: dict[str, dict[str, str]] = field(default_factory=dict)  # by the customer's id

    @property
    def open(self) -> bool:
        return self.status in OPEN

    def public(self) -> dict[str, str | None]:
        return {
            "external_payment_id": self.external_payment_id,
            "payment_id": self.order.payment_id,
            "status": self.status,
            "amount": self.order.amount,
            "currency": self.order.currency,
            "transaction_id": self.transaction_id,
            "completed_at": self.completed_at,
        }


class AnotherOrder(Exception):
    """The customer used this payment id for something else before."""


class NotPaid(Exception):
    """There is not that much to give back."""


class Book:
    def __init__(self, folder: Path | None) -> None:
        self._file = folder / "payments.json" if folder else None
        self._payments: dict[str, Payment] = {}
        self._by_order: dict[str, str] = {}
        self._behaviours: dict[str, Behaviour] = {}
        self._default = Behaviour()
        if self._file is not None and self._file.exists():
            for row in json.loads(self._file.read_text()):
                self._remember(_read(row))

    def find(self, name: str) -> Payment | None:
        """By the provider's id or the customer's."""
        return self._payments.get(self._by_order.get(name, name))

    def create(self, order: Order) -> Payment:
        """The same order again is the same payment. Raises AnotherOrder."""
        known = self.find(order.payment_id)
        if known is not None:
            if known.order != order:
                raise AnotherOrder
            return known
        payment = Payment(f"sbx_{secrets.token_hex(12)}", order)
        self.keep(payment)
        return payment

    def close(self, payment: Payment, status: str) -> Payment:
        """Only an open payment changes: the first of Pay, Fail and Cancel counts."""
        now = datetime.now(UTC).isoformat()
        paid = status == "completed"
        return replace(
            payment,
            status=status,
            completed_at=now if paid else None,
            transaction_id=f"txn_{secrets.token_hex(8)}" if paid else None,
        )

    def refund(self, payment: Payment, wanted: RefundOrder) -> dict[str, str]:
        """The same again is the same refund. Raises NotPaid."""
        known = payment.refunds.get(wanted.refund_id)
        told = {"refund_id": wanted.refund_id, "amount": wanted.amount, "currency": wanted.currency}
        if known is not None:
            if {**known, **told} != known:
                raise NotPaid("this refund id was another refund's")
            return known
        given = sum((Decimal(refund["amount"]) for refund in payment.refunds.values()), Decimal(0))
        if payment.status != "completed" or wanted.currency != payment.order.currency:
            raise NotPaid(f"the payment is {payment.status} in {payment.order.currency}")
        if not 0 < Decimal(wanted.amount) <= Decimal(payment.order.amount) - given:
            raise NotPaid("more than is left of it")
        refund = {**told, "external_refund_id": f"rfd_{secrets.token_hex(8)}", "status": "completed"}
        self.keep(replace(payment, refunds={**payment.refunds, wanted.refund_id: refund}))
        return refund

    def keep(self, payment: Payment) -> None:
        self._remember(payment)
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part = self._file.with_suffix(".part")
            part.write_text(json.dumps([_write(p) for p in self._payments.values()]))
            part.replace(self._file)

    def set_behaviour(self, behaviour: Behaviour, payment: str | None) -> None:
        """For one payment, by either id, or for all others; holds until it is set again."""
        if payment is None:
            self._default = behaviour
        else:
            self._behaviours[self._by_order.get(payment, payment)] = behaviour

    def behaviour_of(self, payment: Payment) -> Behaviour:
        return self._behaviours.get(payment.external_payment_id, self._default)

    def _remember(self, payment: Payment) -> None:
        self._payments[payment.external_payment_id] = payment
        self._by_order[payment.order.payment_id] = payment.external_payment_id


def _write(payment: Payment) -> dict[str, object]:
    sent: Sequence[Event] = payment.sent
    return {
        "external_payment_id": payment.external_payment_id,
        "order": payment.order.model_dump(),
        "status": payment.status,
        "transaction_id": payment.transaction_id,
        "completed_at": payment.completed_at,
        "sent": [asdict(event) for event in sent],
        "refunds": payment.refunds,
    }


def _read(row: dict[str, object]) -> Payment:
    fields: dict[str, object] = {**row, "order": Order.model_validate(row["order"])}
    sent = row["sent"]
    fields["sent"] = [Event(**event) for event in sent] if isinstance(sent, list) else []
    return Payment(**fields)  # type: ignore[arg-type] # as written above
