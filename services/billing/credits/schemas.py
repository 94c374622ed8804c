"""Credits as the API shows them. Credits are whole numbers."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from services.billing.credits.balance import Statement
from services.billing.credits.catalogue import CreditCatalogue
from services.billing.credits.commands import Reservation, Result, Status, Type
from services.billing.credits.rules import Source

Amount = Annotated[int, Field(ge=1, le=1_000_000_000)]
ClientId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]


class GrantOut(BaseModel):
    """`remaining` of `amount` can be spent until `expires_at`. In burn order."""

    id: UUID
    source: Source
    amount: int
    remaining: int
    priority: int
    expires_at: datetime | None
    description: str
    created_at: datetime


class CreditsOut(BaseModel):
    """`balance` can be spent now; `reserved` is held for what is under way. `spent` and `expired`: ever."""

    balance: int
    reserved: int
    spent: int
    expired: int
    grants: list[GrantOut]
    position: int
    as_of: datetime


class CreditPartOut(BaseModel):
    grant_id: UUID
    source: Source
    account: Literal["available", "reserved", "spent", "expired"]
    amount: int


class CreditTransactionOut(BaseModel):
    """`amount` changed the balance, which is `balance` afterwards. `grants`: which of them gave or got."""

    id: UUID
    seq: int
    type: Type
    amount: int
    balance: int
    reserved: int
    source: Source | None
    use: str | None
    quantity: int | None
    subject: UUID | None
    client_id: str | None
    description: str | None
    by: str | None
    at: datetime
    grants: list[CreditPartOut]


class CreditStatementOut(BaseModel):
    """`opening_balance` + granted - spent - expired - reserved = `closing_balance`; `reserved` may be negative: more
    came back than was held. `granted` is less what was taken back with a refund.
    """

    since: Annotated[datetime, Field(serialization_alias="from")]
    to: datetime
    opening_balance: int
    closing_balance: int
    opening_reserved: int
    closing_reserved: int
    granted: dict[Source, int]
    spent: int
    expired: int
    reserved: int
    transactions: int
    position: int
    as_of: datetime

    @classmethod
    def of(cls, found: Statement) -> Self:
        told = {name: getattr(found, name) for name in cls.model_fields if hasattr(found, name)}
        return cls(opening_balance=found.opening, closing_balance=found.closing, **told)


class CreditPackOut(BaseModel):
    """`prices`: decimal text by currency. Days until they expire, null: never."""

    code: str
    version: int
    name: str
    credits: int
    expires_days: int | None
    prices: dict[str, str]


class CreditUseOut(BaseModel):
    """`cost` credits buy one `unit`."""

    use: str
    name: str
    unit: str
    cost: int


class CreditPacksOut(BaseModel):
    items: list[CreditPackOut]
    uses: list[CreditUseOut]

    @classmethod
    def of(cls, catalogue: CreditCatalogue) -> Self:
        packs = [CreditPackOut(**pack.model_dump(exclude={"priority"})) for pack in catalogue.packs]
        uses = [CreditUseOut(use=code, **use.model_dump()) for code, use in catalogue.uses.items()]
        return cls(items=packs, uses=uses)


class CreditOfferOut(BaseModel):
    """In credits: what one of `use` costs, and what can be spent now."""

    use: str
    unit: str
    cost: int
    balance: int


class ServiceGrantIn(BaseModel):
    """The same `client_id` with the same content grants once."""

    amount: Amount
    source: Source
    description: str = Field(min_length=1, max_length=500)
    client_id: ClientId
    expires_at: AwareDatetime | None = None


class CreditGrantIn(ServiceGrantIn):
    tenant_id: UUID


class CreditDoneOut(BaseModel):
    """`balance` is the tenant's after it. `repeated`: it was done before, by the same client id."""

    transaction_id: UUID
    subject: UUID | None
    amount: int
    balance: int
    at: datetime
    repeated: bool

    @classmethod
    def of(cls, done: Result) -> Self:
        assert done.transaction is not None  # noqa: S101 - a refusal was raised
        told = done.transaction
        return cls(
            transaction_id=told.id,
            subject=told.subject,
            amount=told.amount,
            balance=told.available_after,
            at=told.at,
            repeated=done.repeated,
        )


class SpendIn(BaseModel):
    use: str = Field(max_length=32)
    quantity: Amount = 1
    client_id: ClientId


class ReserveIn(SpendIn):
    """`expires_in` seconds, after which what is not settled goes back by itself."""

    expires_in: int = Field(default=900, ge=1, le=7 * 86400)


class SettleIn(BaseModel):
    """`quantity` of what was reserved was used; null: all of it."""

    quantity: Amount | None = None


class ReservationOut(BaseModel):
    reservation_id: UUID
    use: str
    quantity: int
    amount: int
    status: Status
    settled: int
    created_at: datetime
    expires_at: datetime
    balance: int
    repeated: bool

    @classmethod
    def of(cls, done: Result) -> Self:
        held: Any = done.reservation
        return cls(
            reservation_id=held.id,
            balance=done.available,
            repeated=done.repeated,
            **{name: getattr(held, name) for name in Reservation.__slots__ if name in cls.model_fields},
            amount=held.amount,
        )
