"""All SQL on subscriptions. Runs inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.billing.catalogue.plan import Interval, Plan, Price
from services.billing.subscriptions import period_rows
from services.billing.subscriptions.period_rows import BACK
from services.billing.subscriptions.rules import Part, unused
from shared.events import Entitlements
from shared.money import Money

_SELECT = f"""
    SELECT plan, plan_version, status, version, entitlements, interval, currency, price, anchor, period, period_start,
        period_end, next_plan, next_plan_version, next_interval, next_currency, invoice_id, grace_until, notices,
        deleted_at,
        (
            SELECT coalesce(sum(least(f.amount, ({BACK}) - f.refunded)), 0)::bigint
            FROM period_payment AS f WHERE f.tenant_id = $1
        ) AS refunded,
        EXISTS (
            SELECT FROM period_payment AS f JOIN payment_refund AS r ON r.payment_id = f.payment_id
            WHERE f.tenant_id = $1 AND r.status = 'pending'
        ) AS refunding
    FROM subscription WHERE tenant_id = $1
"""
_INSERT = """
    INSERT INTO subscription (tenant_id, plan, plan_version, status, version, entitlements, started_at)
    VALUES ($1, $2, $3, 'active', 1, $4, $5) ON CONFLICT (tenant_id) DO NOTHING RETURNING 1
"""
_END = """
    INSERT INTO subscription (tenant_id, plan, plan_version, status, version, entitlements, started_at, deleted_at)
    VALUES ($1, $2, $3, 'active', 1, $4, $5, $5)
    ON CONFLICT (tenant_id) DO UPDATE SET deleted_at = coalesce(subscription.deleted_at, $5)
"""
_NOTHING_NEXT = "next_plan = NULL, next_plan_version = NULL, next_interval = NULL, next_currency = NULL"
_NOTHING_OPEN = "status = 'active', invoice_id = NULL, grace_until = NULL, notices = 0"
_CHANGE = f"""
    UPDATE subscription SET plan = $2, plan_version = $3, version = version + 1, entitlements = $4, started_at = $5,
        interval = $6, currency = $7, price = $8, anchor = $9, period = 0, period_start = $9, period_end = $10,
        {_NOTHING_NEXT}, {_NOTHING_OPEN}
    WHERE tenant_id = $1 RETURNING version
"""
_PLAN_NEXT = """
    UPDATE subscription SET next_plan = $2, next_plan_version = $3, next_interval = $4, next_currency = $5,
        version = version + 1
    WHERE tenant_id = $1
"""
_RENEW = """
    UPDATE subscription SET period = period + 1, period_start = period_end, period_end = $2, status = 'past_due',
        invoice_id = $3, grace_until = $4, notices = 0
    WHERE tenant_id = $1
"""
_OWE = (
    "UPDATE subscription SET status = 'past_due', invoice_id = $2, grace_until = $3, notices = 0 WHERE tenant_id = $1"
)
_PAID = f"UPDATE subscription SET {_NOTHING_OPEN} WHERE tenant_id = $1 AND invoice_id = $2 RETURNING 1"
_NOTICED = "UPDATE subscription SET notices = $2 WHERE tenant_id = $1"
_DUE = """
    SELECT tenant_id FROM subscription
    WHERE period_end IS NOT NULL AND (period_end <= $1 OR status = 'past_due') AND tenant_id > $2
    ORDER BY tenant_id LIMIT $3
"""
_ZONE = "SELECT timezone FROM credit_account WHERE tenant_id = $1"


@dataclass(frozen=True, slots=True)
class Subscription:
    """`version` rises with every change and is the version of the entitlements. A free plan has no price and no
    periods. `anchor` is when period 0 began, `period` the number of the one under way. `next_plan` follows at its end;
    None: the same again. Past due: `invoice_id` is not paid yet, and `grace_until` is when the plan ends for it.
    `refunded` minor units of what was paid for the period were given back since it began; `refunding`: more is on its
    way perhaps.
    """

    plan: str
    plan_version: int
    status: str
    version: int
    entitlements: Entitlements
    interval: Interval | None
    currency: str | None
    price: int | None
    anchor: datetime | None
    period: int
    period_start: datetime | None
    period_end: datetime | None
    next_plan: str | None
    next_plan_version: int | None
    next_interval: Interval | None
    next_currency: str | None
    invoice_id: UUID | None
    grace_until: datetime | None
    notices: int
    deleted_at: datetime | None
    refunded: int
    refunding: bool

    @property
    def money(self) -> Money | None:
        """The price of a whole period."""
        return None if self.price is None or self.currency is None else Money(self.price, self.currency)

    def left(self, now: datetime) -> Money | None:
        """What of the period's price is for the time to come, and was not given back; None where nothing was paid for
        it.
        """
        if self.money is None or self.period_start is None or self.period_end is None or self.status != "active":
            return None
        ahead = unused(self.money.amount, self.period_start, self.period_end, now)
        return Money(max(0, ahead - self.refunded), self.money.currency)

    @property
    def paid(self) -> Price | None:
        """The price as it was bought."""
        if self.money is None or self.interval is None:
            return None
        return Price(amount=self.money.text, currency=self.money.currency, interval=self.interval)


async def find(connection: Any, tenant: UUID) -> Subscription | None:
    row = await connection.fetchrow(_SELECT, tenant)
    return None if row is None else _read(row)


async def lock(connection: Any, tenant: UUID) -> Subscription:
    """The row is the caller's until the commit. It must exist. Read in a statement of its own: a snapshot from before
    the lock would not show the payments of the period that was waited for.
    """
    await hold(connection, tenant)
    return _read(await connection.fetchrow(_SELECT, tenant))


async def hold(connection: Any, tenant: UUID) -> None:
    """The row, where there is one, is the caller's until the commit: before any invoice of the team's, and before the
    head of its events, as everybody takes them.
    """
    await connection.execute("SELECT 1 FROM subscription WHERE tenant_id = $1 FOR UPDATE", tenant)


async def hold_deleted(connection: Any, tenant: UUID) -> bool:
    """As `hold`. Whether the team is gone."""
    gone = "SELECT deleted_at IS NOT NULL FROM subscription WHERE tenant_id = $1 FOR UPDATE"
    return bool(await connection.fetchval(gone, tenant))


async def insert(connection: Any, tenant: UUID, plan: Plan, at: datetime) -> bool:
    """False when the team has one."""
    entitlements = plan.entitlements.model_dump(mode="json")
    return bool(await connection.fetchval(_INSERT, tenant, plan.code, plan.version, entitlements, at))


async def end(connection: Any, tenant: UUID, plan: Plan, at: datetime) -> None:
    """The team is gone, and was perhaps never heard of before. The row is the caller's until the commit."""
    await connection.execute(_END, tenant, plan.code, plan.version, plan.entitlements.model_dump(mode="json"), at)


async def change(
    connection: Any,
    tenant: UUID,
    plan: Plan,
    at: datetime,
    price: Price | None,
    period: tuple[datetime, datetime] | None,
) -> int:
    """From nothing: what was planned or open is gone. `at` is when it happens, `period` the first one. Returns the new
    version.
    """
    money = price.money if price else None
    terms = (price.interval, price.currency, money.amount) if price and money else (None, None, None)
    entitlements = plan.entitlements.model_dump(mode="json")
    version: int = await connection.fetchval(
        _CHANGE, tenant, plan.code, plan.version, entitlements, at, *terms, *(period or (None, None))
    )
    await period_rows.clear(connection, tenant)
    return version


async def plan_next(connection: Any, tenant: UUID, plan: Plan | None, price: Price | None) -> None:
    """What follows the period under way; None: the same again."""
    said = (plan.code, plan.version) if plan else (None, None)
    terms = (price.interval, price.currency) if price else (None, None)
    await connection.execute(_PLAN_NEXT, tenant, *said, *terms)


async def renew(connection: Any, tenant: UUID, end: datetime, invoice: UUID, grace_until: datetime) -> None:
    await connection.execute(_RENEW, tenant, end, invoice, grace_until)
    await period_rows.clear(connection, tenant)


async def owe(connection: Any, tenant: UUID, invoice: UUID, grace_until: datetime) -> None:
    """The period under way is not paid yet."""
    await connection.execute(_OWE, tenant, invoice, grace_until)


async def set_paid(connection: Any, tenant: UUID, invoice: UUID, by: Part | None = None) -> None:
    """Where that invoice is what the team owes. Credited whole, by nobody's payment, is as good as paid."""
    if await connection.fetchval(_PAID, tenant, invoice) and by is not None:
        await period_rows.put(connection, tenant, [by])


async def set_notices(connection: Any, tenant: UUID, number: int) -> None:
    await connection.execute(_NOTICED, tenant, number)


async def list_due(connection: Any, now: datetime, after: UUID, limit: int) -> list[UUID]:
    """Teams whose period is over, or not paid."""
    return [row["tenant_id"] for row in await connection.fetch(_DUE, now, after, limit)]


async def zone_of(connection: Any, tenant: UUID) -> ZoneInfo:
    return ZoneInfo(await connection.fetchval(_ZONE, tenant) or "UTC")


def _read(row: Any) -> Subscription:
    return Subscription(**{**dict(row), "entitlements": Entitlements.model_validate(row["entitlements"])})
