"""All SQL on payments. Runs inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from services.billing.payments.rules import Asked, Status
from shared.events import PaymentMethod, PaymentPurpose
from shared.money import Money

_INSERT = """
    INSERT INTO payment (id, tenant_id, team, amount, currency, method, status, provider, purpose, subject, plan,
        plan_version, return_url, metadata, created_at, next_check_at)
    VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $9, $10, $11, $12, $13, $14, $15)
    ON CONFLICT (tenant_id, purpose, (CASE WHEN purpose = 'plan' THEN '' ELSE subject END))
        WHERE status IN ('pending', 'processing')
    DO NOTHING RETURNING 1
"""
# A callback may have come before the answer, and it was checked.
_OPENED = """
    UPDATE payment SET external_id = coalesce(external_id, $2), payment_url = $3, qr_code = $4 WHERE id = $1
"""
_OPEN = """
    SELECT * FROM payment WHERE tenant_id = $1 AND purpose = $2 AND (purpose = 'plan' OR subject = $3)
        AND status IN ('pending', 'processing')
"""
# Whoever opens a payment and whoever completes one must not pass each other by.
_LOCK_SLOT = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_REPLACED = """
    SELECT EXISTS (
        SELECT 1 FROM payment WHERE tenant_id = $1 AND purpose = $2 AND (purpose = 'plan' OR subject = $3)
            AND id <> $4 AND created_at >= $5 AND status IN ('pending', 'processing', 'completed')
    )
"""
_MOVE = """
    UPDATE payment SET status = $2, external_id = coalesce(external_id, $3),
        transaction_id = coalesce($4, transaction_id),
        completed_at = CASE WHEN $2 = 'completed' THEN $5::timestamptz END
    WHERE id = $1
"""
_TRANSITION = """
    INSERT INTO payment_transition (tenant_id, payment_id, from_status, to_status, source, at)
    VALUES ($1, $2, $3, $4, $5, $6)
"""
_DUE = """
    SELECT due.* FROM (VALUES ('external'), ('stripe')) AS asked (provider) CROSS JOIN LATERAL (
        SELECT * FROM payment
        WHERE status IN ('pending', 'processing') AND next_check_at <= $1 AND payment.provider = asked.provider
        ORDER BY next_check_at LIMIT 100
    ) AS due ORDER BY due.next_check_at
"""

_OLDEST_OPEN = "SELECT min(created_at) FROM payment WHERE status IN ('pending', 'processing')"

EXTERNAL_ID = "payment_external"  # the constraint: a provider's id is one payment's


@dataclass(frozen=True, slots=True)
class Payment:
    """`amount`, `refunded` and `owed` in minor units of `currency`. A plan is named where the purpose is one. `owed`
    found neither use nor credits: staff give it back.
    """

    id: UUID
    tenant_id: UUID
    team: str
    external_id: str | None
    amount: int
    currency: str
    method: PaymentMethod
    status: Status
    provider: str
    purpose: PaymentPurpose
    subject: str
    plan: str | None
    plan_version: int | None
    return_url: str
    metadata: dict[str, str]
    payment_url: str | None
    qr_code: str | None
    transaction_id: str | None
    created_at: datetime
    completed_at: datetime | None
    next_check_at: datetime
    checks: int
    refunded: int = 0
    owed: int = 0

    @classmethod
    def read(cls, row: Any) -> Self:
        return cls(**{name: row[name] for name in cls.__slots__})

    @property
    def money(self) -> Money:
        return Money(self.amount, self.currency)

    @property
    def asked(self) -> Asked:
        return Asked(str(self.id), self.external_id, self.status, self.money, self.team, self.provider)


async def insert(connection: Any, payment: Payment) -> bool:
    """False when another payment of this team for the same is open."""
    await lock_slot(connection, payment.tenant_id, payment.purpose)
    return bool(
        await connection.fetchval(
            _INSERT,
            payment.id,
            payment.tenant_id,
            payment.team,
            payment.amount,
            payment.currency,
            payment.method,
            payment.provider,
            payment.purpose,
            payment.subject,
            payment.plan,
            payment.plan_version,
            payment.return_url,
            payment.metadata,
            payment.created_at,
            payment.next_check_at,
        )
    )


async def find(connection: Any, payment_id: UUID, *, lock: bool = False) -> Payment | None:
    row = await connection.fetchrow(f"SELECT * FROM payment WHERE id = $1{' FOR UPDATE' if lock else ''}", payment_id)
    return None if row is None else Payment.read(row)


async def find_open(connection: Any, wanted: Payment) -> Payment | None:
    """The one that stands in its place."""
    row = await connection.fetchrow(_OPEN, wanted.tenant_id, wanted.purpose, wanted.subject)
    return None if row is None else Payment.read(row)


async def is_replaced(connection: Any, payment: Payment) -> bool:
    """Whether a younger payment for the same is open or paid. The caller has locked the slot."""
    where = (payment.tenant_id, payment.purpose, payment.subject, payment.id, payment.created_at)
    return bool(await connection.fetchval(_REPLACED, *where))


async def find_owner(connection: Any, payment_id: UUID) -> UUID | None:
    """Whose it is, whoever asks: for administrators of the platform."""
    owner: UUID | None = await connection.fetchval("SELECT payment_owner($1)", payment_id)
    return owner


async def find_oldest_open(connection: Any) -> datetime | None:
    found: datetime | None = await connection.fetchval(_OLDEST_OPEN)
    return found


async def list_due(connection: Any, now: datetime) -> list[Payment]:
    """Open payments the provider should be asked about; of each provider, so that one cannot crowd out the other."""
    return [Payment.read(row) for row in await connection.fetch(_DUE, now)]


async def set_opened(connection: Any, payment_id: UUID, external_id: str, url: str, qr_code: str | None) -> None:
    await connection.execute(_OPENED, payment_id, external_id, url, qr_code)


async def set_checked(connection: Any, payment_id: UUID, next_check_at: datetime) -> None:
    await connection.execute(
        "UPDATE payment SET checks = checks + 1, next_check_at = $2 WHERE id = $1", payment_id, next_check_at
    )


async def move(
    connection: Any,
    payment: Payment,
    status: Status,
    source: str,
    at: datetime,
    *,
    external_id: str | None = None,
    transaction_id: str | None = None,
) -> None:
    """The new status and the record of how it came about."""
    await connection.execute(_MOVE, payment.id, status, external_id, transaction_id, at)
    await note(connection, payment, payment.status, status, source, at)


async def owe(connection: Any, payment: Payment, amount: int) -> None:
    """So much of it is to be given back."""
    await connection.execute("UPDATE payment SET owed = $2 WHERE id = $1", payment.id, amount)


async def count_owed(connection: Any) -> int:
    """Payments of which something is still to be given back."""
    return int(await connection.fetchval("SELECT count(*) FROM payment WHERE owed > refunded"))


async def list_owed(connection: Any, limit: int, after: tuple[datetime, UUID] | None) -> list[Any]:
    """Of all teams, oldest first, whoever asks: for administrators of the platform."""
    at, payment_id = after or (None, None)
    return list(await connection.fetch("SELECT * FROM payments_owed($1, $2, $3)", at, payment_id, limit))


async def note(connection: Any, payment: Payment, before: str, after: str, source: str, at: datetime) -> None:
    """A transition: what is written down stays."""
    await connection.execute(_TRANSITION, payment.tenant_id, payment.id, before, after, source, at)


async def lock_slot(connection: Any, tenant: UUID, purpose: PaymentPurpose) -> None:
    """Until the commit, nobody else opens or completes a payment of the team's for such a thing."""
    await connection.execute(_LOCK_SLOT, f"payments of {tenant} for a {purpose}")
