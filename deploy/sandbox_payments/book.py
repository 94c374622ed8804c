"""The provider's payments, kept over a restart where a folder is given."""

import json
import secrets
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How callbacks go wrong. `deliveries` copies of each, `delay_ms` late or `never`, `order` forward or reverse,
    one more with a wrong signature (`forged`), one more well signed over another amount (`wrong_amount`).
    """

    deliveries: int = 1
    order: str = "forward"
    delay_ms: int = 0
    never: bool = False
    forged: bool = False
    wrong_amount: str | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """`amount` is decimal text, as the contract has it."""

    external_payment_id: str
    payment_id: str
    team: str
    amount: str
    currency: str
    method: str
    description: str
    callback_url: str
    return_url: str
    status: str = "pending"
    transaction_id: str | None = None
    completed_at: str | None = None
    events: list[str] = field(default_factory=list)  # bodies already sent, for redelivery

    @property
    def open(self) -> bool:
        return self.status in {"pending", "processing"}

    def public(self) -> dict[str, str | None]:
        names = ("external_payment_id", "payment_id", "status", "amount", "currency", "transaction_id", "completed_at")
        return {name: getattr(self, name) for name in names}


class Book:
    def __init__(self, folder: Path | None) -> None:
        self._file = folder / "payments.json" if folder else None
        self._payments: dict[str, Payment] = {}
        self._behaviours: dict[str, Behaviour] = {}
        self._default = Behaviour()
        if self._file is not None and self._file.exists():
            for row in json.loads(self._file.read_text()):
                self._payments[row["external_payment_id"]] = Payment(**row)

    def find(self, name: str) -> Payment | None:
        """By the provider's id or the customer's."""
        found = self._payments.get(name)
        return found or next((p for p in self._payments.values() if p.payment_id == name), None)

    def create(self, **fields: str) -> Payment:
        """The same order again is the same payment."""
        known = self.find(fields["payment_id"])
        if known is not None:
            return known
        payment = Payment(external_payment_id=f"sbx_{secrets.token_hex(12)}", **fields)  # type: ignore[arg-type] # texts
        self._keep(payment)
        return payment

    def close(self, payment: Payment, status: str) -> Payment:
        """Only an open payment changes: the first of Pay, Fail and Cancel counts."""
        current = self._payments[payment.external_payment_id]
        if not current.open:
            return current
        now = datetime.now(UTC).isoformat()
        done = replace(current, status=status, completed_at=now, transaction_id=f"txn_{secrets.token_hex(8)}")
        self._keep(done)
        return done

    def set_behaviour(self, behaviour: Behaviour, payment_id: str | None) -> None:
        if payment_id is None:
            self._default = behaviour
        else:
            self._behaviours[payment_id] = behaviour

    def behaviour_of(self, payment: Payment) -> Behaviour:
        return self._behaviours.get(payment.payment_id, self._default)

    def _keep(self, payment: Payment) -> None:
        self._payments[payment.external_payment_id] = payment
        if self._file is not None:
            part = self._file.with_suffix(".part")
            part.write_text(json.dumps([asdict(p) for p in self._payments.values()]))
            part.replace(self._file)
