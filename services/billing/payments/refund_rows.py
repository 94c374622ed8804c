"""All SQL on refunds. Runs inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from services.billing.payments.fulfilment import Taken
from services.billing.payments.repository import Payment
from shared.events import PaymentRefunded
from shared.money import Money

RefundStatus = Literal["pending", "completed", "failed"]

# What is being given back counts at once: two refunds at once cannot both have the rest. The constraint has the last
# word.
_RESERVE = "UPDATE payment SET refunded = refunded + $2 WHERE id = $1"
_INSERT = """
    INSERT INTO payment_refund (id, tenant_id, payment_id, client_id, amount, reason, requested_by, status,
        created_at, next_try_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $8)
"""
_SELECT = """
    SELECT r.id, r.tenant_id, r.payment_id, r.client_id, r.amount, p.currency, r.reason, r.requested_by, r.status,
        r.external_id, r.created_at, r.settled_at, r.tries, r.credits_taken, r.credits_spent
    FROM payment_refund r JOIN payment p ON p.id = r.payment_id
"""
_STATUS = """
    UPDATE payment_refund SET status = $2, settled_at = $3, external_id = $4 WHERE id = $1 AND status = 'pending'
    RETURNING 1
"""


_GIVEN = "SELECT coalesce(sum(amount), 0)::bigint FROM payment_refund WHERE payment_id = $1 AND status = 'completed'"
_TAKEN = "UPDATE payment_refund SET credits_taken = $2, credits_spent = $3 WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Refund:
    """`amount` in minor units of `currency`. `client_id` is whoever asked's own name for it. Of a pack: the credits
    that were taken back for it, and those that had been spent.
    """

    id: UUID
    tenant_id: UUID
    payment_id: UUID
    client_id: str
    amount: int
    currency: str
    reason: str
    requested_by: str
    status: RefundStatus
    external_id: str | None
    created_at: datetime
    settled_at: datetime | None
    tries: int = 0
    credits_taken: int | None = None
    credits_spent: int | None = None

    @classmethod
    def of(cls, payment: Payment, id: UUID, amount: int, *, client_id: str, reason: str, by: str, at: datetime) -> Self:  # noqa: A002 - its name
        return cls(
            id=id,
            tenant_id=payment.tenant_id,
            payment_id=payment.id,
            client_id=client_id,
            amount=amount,
            currency=payment.currency,
            reason=reason,
            requested_by=by,
            status="pending",
            external_id=None,
            created_at=at,
            settled_at=None,
        )

    @classmethod
    def read(cls, row: Any) -> Self:
        return cls(**{name: row[name] for name in cls.__slots__})

    @property
    def money(self) -> Money:
        return Money(self.amount, self.currency)


async def insert(connection: Any, refund: Refund) -> None:
    """With its share of the payment, whose row the caller has locked."""
    await connection.execute(_RESERVE, refund.payment_id, refund.amount)
    values = (refund.tenant_id, refund.payment_id, refund.client_id, refund.amount, refund.reason, refund.requested_by)
    await connection.execute(_INSERT, refund.id, *values, refund.created_at)


async def release(connection: Any, refund: Refund) -> None:
    """Its share of the payment: the provider has not given it back, and will not."""
    await connection.execute(_RESERVE, refund.payment_id, -refund.amount)


async def find_by_client(connection: Any, payment: UUID, client_id: str) -> Refund | None:
    row = await connection.fetchrow(f"{_SELECT} WHERE r.payment_id = $1 AND r.client_id = $2", payment, client_id)
    return None if row is None else Refund.read(row)


async def list_of(connection: Any, payment: UUID) -> list[Refund]:
    """Oldest first."""
    rows = await connection.fetch(f"{_SELECT} WHERE r.payment_id = $1 ORDER BY r.created_at, r.id LIMIT 200", payment)
    return [Refund.read(row) for row in rows]


async def list_due(connection: Any, now: datetime) -> list[Refund]:
    """Those of whom nobody knows whether the money has gone."""
    where = "WHERE r.status = 'pending' AND r.next_try_at <= $1 ORDER BY r.next_try_at LIMIT 100"
    return [Refund.read(row) for row in await connection.fetch(f"{_SELECT} {where}", now)]


async def set_status(
    connection: Any, refund: UUID, status: RefundStatus, at: datetime, *, external_id: str | None = None
) -> bool:
    """False when it is settled already."""
    return bool(await connection.fetchval(_STATUS, refund, status, at, external_id))


async def sum_given(connection: Any, payment: UUID) -> int:
    """Minor units that went back, whose payment the caller has locked."""
    return int(await connection.fetchval(_GIVEN, payment))


async def set_taken(connection: Any, refund: UUID, taken: Taken) -> None:
    await connection.execute(_TAKEN, refund, taken.taken, taken.spent)


async def set_tried(connection: Any, refund: UUID, next_try_at: datetime) -> None:
    await connection.execute(
        "UPDATE payment_refund SET tries = tries + 1, next_try_at = $2 WHERE id = $1", refund, next_try_at
    )


def event_of(
    payment: Payment, refund: Refund, to: Literal["provider", "credit", "due"], at: datetime
) -> PaymentRefunded:
    return PaymentRefunded(
        tenant_id=payment.tenant_id,
        payment_id=payment.id,
        amount=refund.amount,
        currency=payment.currency,
        method=payment.method,
        plan=payment.plan,
        at=at,
        purpose=payment.purpose,
        subject=payment.subject,
        refund_id=refund.id,
        to=to,
        reason=refund.reason,
    )
