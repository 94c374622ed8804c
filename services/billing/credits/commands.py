"""What may be done to a tenant's credits, and what comes of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from services.billing.credits.rules import Account, Grant, Part, Source
from shared.ids import new_id

Type = Literal["grant", "spend", "reserve", "settle", "release", "expire", "take_back"]
Status = Literal["open", "settled", "released", "expired"]


@dataclass(frozen=True, slots=True)
class Add:
    """`key` and `said`: the same again changes nothing, the same key saying something else is refused."""

    key: str
    said: dict[str, Any]
    source: Source
    amount: int
    description: str
    by: str
    priority: int
    expires_at: datetime | None = None
    id: UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Spend:
    """`cost`: credits for one of `quantity`."""

    key: str
    use: str
    quantity: int
    cost: int
    by: str

    @property
    def said(self) -> dict[str, Any]:
        return {"use": self.use, "quantity": self.quantity}


@dataclass(frozen=True, slots=True)
class Reserve:
    key: str
    use: str
    quantity: int
    cost: int
    by: str
    lifetime: timedelta
    id: UUID = field(default_factory=new_id)

    @property
    def said(self) -> dict[str, Any]:
        return {"use": self.use, "quantity": self.quantity, "expires_in": int(self.lifetime.total_seconds())}


@dataclass(frozen=True, slots=True)
class Settle:
    """`quantity` of what is reserved was used, None: all of it. The rest goes back."""

    reservation: UUID
    quantity: int | None
    by: str


@dataclass(frozen=True, slots=True)
class Release:
    reservation: UUID
    by: str


@dataclass(frozen=True, slots=True)
class TakeBack:
    """`amount` of a grant that was refunded, or what is left of it: what was spent stays spent."""

    key: str
    grant: UUID
    amount: int
    by: str

    @property
    def said(self) -> dict[str, Any]:
        return {"grant": str(self.grant), "amount": self.amount}


@dataclass(frozen=True, slots=True)
class Sweep:
    """Nothing but what every batch begins with: grants and reservations that are over are closed."""


Command = Add | Spend | Reserve | Settle | Release | TakeBack | Sweep


@dataclass(slots=True)
class Reservation:
    """`settled` of `quantity` were used, at `cost` credits each; `holds` says which grants stand for all of it."""

    id: UUID
    use: str
    quantity: int
    cost: int
    holds: list[Part]
    status: Status
    settled: int
    created_at: datetime
    expires_at: datetime
    closed_at: datetime | None = None

    @property
    def amount(self) -> int:
        return self.quantity * self.cost


@dataclass(frozen=True, slots=True)
class Posting:
    account: Account
    grant: UUID
    amount: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """`amount`: the change of what can be spent. `subject`: the grant or reservation it is about."""

    seq: int
    id: UUID
    type: Type
    amount: int
    at: datetime
    available_after: int
    reserved_after: int
    key: str | None = None
    said: dict[str, Any] | None = None
    source: Source | None = None
    use: str | None = None
    quantity: int | None = None
    subject: UUID | None = None
    description: str | None = None
    by: str | None = None
    postings: tuple[Posting, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One of: done (`transaction`, and `reservation` where there is one), or why not."""

    transaction: Transaction | None = None
    reservation: Reservation | None = None
    repeated: bool = False
    available: int = 0
    missing: int = 0  # credits
    reused: bool = False  # the key stands for something else
    unknown: bool = False  # no such reservation
    closed: bool = False  # the reservation ended otherwise


@dataclass(slots=True)
class Known:
    """What the database holds of a batch, read under the account's lock.

    `grants`: those in burn order that hold what is asked for, those that are over, those a command or a reservation
    here names.
    """

    available: int = 0
    reserved: int = 0
    seq: int = 0
    grants: list[Grant] = field(default_factory=list)
    due: list[UUID] = field(default_factory=list)
    reservations: dict[UUID, Reservation] = field(default_factory=dict)
    done: dict[str, Transaction] = field(default_factory=dict)
